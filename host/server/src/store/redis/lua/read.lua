-- Reads a stream from an id on: at most about so many entries and bytes, one row at least. How many of both how many rows
-- hold in all says how many are worth reading at once. Returns a flat list of id, row and count of its entries, and whether
-- a bound ended it.
local function read(stream, from, entries_max, bytes_max, entries, bytes, rows)
  local found, count, weight = {}, 0, 0
  local entries_each, bytes_each = math.max(entries / math.max(rows, 1), 1), math.max(bytes / math.max(rows, 1), 1)
  while count < entries_max and (count == 0 or weight < bytes_max) do
    local piece = math.min(math.ceil((entries_max - count) / entries_each), math.floor(bytes_max / bytes_each))
    piece = math.max(piece, 1)
    local read_now = redis.call('XRANGE', stream, from, '+', 'COUNT', piece)
    for _, row in ipairs(read_now) do
      if count > 0 and (count >= entries_max or weight >= bytes_max) then
        return found, true
      end
      local value = row[2]
      -- Rows of an older version's stream hold one entry and do not say so; nor do waiting inputs.
      local held = value[3] == 'n' and tonumber(value[4]) or 1
      found[#found + 1] = row[1]
      found[#found + 1] = value[2]
      found[#found + 1] = held
      count, weight, from = count + held, weight + #value[2], '(' .. row[1]
    end
    if #read_now < piece then
      return found, false
    end
  end
  return found, true
end
