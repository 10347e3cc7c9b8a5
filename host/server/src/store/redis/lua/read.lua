-- Reads a stream from an id on: at most so many entries and about so many bytes, one at least. `average` is what an
-- entry weighs, so that a piece of large entries is not read in vain. Returns a flat list of id and entry, and whether
-- a bound ended it.
local function read(stream, from, entries_max, bytes_max, average)
  local found, count, bytes = {}, 0, 0
  while count < entries_max and (count == 0 or bytes < bytes_max) do
    local piece = math.max(1, math.min(entries_max - count, math.floor(bytes_max / math.max(average, 1))))
    local read_now = redis.call('XRANGE', stream, from, '+', 'COUNT', piece)
    for _, entry in ipairs(read_now) do
      if count > 0 and bytes >= bytes_max then
        break
      end
      found[#found + 1] = entry[1]
      found[#found + 1] = entry[2][2]
      count, bytes, from = count + 1, bytes + #entry[2][2], '(' .. entry[1]
    end
    if #read_now < piece then
      return found, false
    end
  end
  return found, true
end
