-- Visits the rows of a stream from an id on until `visit`, given id, value and count of entries, and the entries and bytes of the
-- rows before, says no; returns whether it did.
-- Reads them in pieces that grow while nobody says no: about so many entries in all, and about so many bytes in each piece, by
-- what the rows before held and weighed. A row too many is not for nothing: Redis makes a Lua string of it, and sums that.
-- What comes next may be far heavier than what was before, and everybody waits meanwhile: a piece has eight rows at most.
local function each_row(stream, from, entries_max, bytes_max, visit)
  local piece, rows, entries, weight = 1, 0, 0, 0
  while true do
    local found = redis.call('XRANGE', stream, from, '+', 'COUNT', piece)
    for _, row in ipairs(found) do
      local id, fields = row[1], row[2]
      -- Rows of an older version's stream hold one entry and do not say so; nor do waiting inputs.
      local held = fields[3] == 'n' and tonumber(fields[4]) or 1
      if not visit(id, fields[2], held, entries, weight) then
        return true
      end
      from, rows, entries, weight = '(' .. id, rows + 1, entries + held, weight + #fields[2]
    end
    if #found < piece then
      return false
    end
    local left = math.ceil((entries_max - entries) * rows / entries)
    piece = math.max(1, math.min(8, piece * 4, left, math.floor(bytes_max * rows / weight)))
  end
end

-- Reads a stream from an id on: whole rows until there are so many entries or bytes, one row at least. Returns a flat list of
-- id, row and count of its entries, and whether a bound ended it: then more rows may follow.
local function read(stream, from, entries_max, bytes_max)
  local found = {}
  local ended = each_row(stream, from, entries_max, bytes_max, function(id, row, held, entries, weight)
    found[#found + 1] = id
    found[#found + 1] = row
    found[#found + 1] = held
    return entries + held < entries_max and weight + #row < bytes_max
  end)
  return found, ended
end
