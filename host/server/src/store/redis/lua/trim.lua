-- Looks up what goes (whole events, a bounded piece), writes the floor, then takes the rows away of which nothing stays: what
-- stands at or below the floor in the oldest row is gone for whoever reads it.
-- Reads time and running number where core::entry::Entry::encode puts them: after a version byte, running, then time; and
-- entries where store::pack puts them.
-- KEYS: lease, company, stream, times, head, records. ARGV: token, since in ms, entries and bytes that may stay, entries
-- and bytes of a piece, first minute of the index of times that stays.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return 0
end
local company, stream = KEYS[2], KEYS[3]
local since, entries_max, bytes_max = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local piece_entries, piece_bytes = tonumber(ARGV[5]), tonumber(ARGV[6])
local function whole(number)
  return string.format('%.0f', number)
end
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', '(' .. ARGV[7])
-- Records that are too old, a bounded piece.
local record_bytes, last_record = 0, nil
for _ = 1, piece_entries do
  local oldest = redis.call('XRANGE', KEYS[6], last_record and ('(' .. last_record) or '-', '+', 'COUNT', 1)[1]
  if not oldest or struct.unpack('>I8', oldest[2][2]) >= since then
    break
  end
  record_bytes, last_record = record_bytes + #oldest[2][2], oldest[1]
end
if last_record then
  redis.call('XTRIM', KEYS[6], 'MINID', '=', string.match(last_record, '^%d+') .. '-1')
  redis.call('HINCRBY', KEYS[5], 'record-bytes', whole(-record_bytes))
end

local had = redis.call('HMGET', company, 'n', 'y', 'f')
if not had[1] then
  -- Unknown, or its head was evicted: whoever reads it next says so.
  return 0
end
local entries, bytes, floor = tonumber(had[1]), tonumber(had[2] or 0), had[3] and string.sub(had[3], 1, 31) or ''
-- The event of a position, 20 digits: its two halves are too much for one number.
local function event_of(low, high)
  local rest = math.fmod(high * 4294967296, 1e10)
  local digits, last = math.floor((high * 4294967296 - rest) / 1e10 + 0.5), rest + low
  if last >= 1e10 then
    digits, last = digits + 1, last - 1e10
  end
  return string.format('%010.0f%010.0f', digits, last)
end
local removed, freed, more = 0, 0, 0
local event, position, running, time
local function goes(entry_time)
  return entry_time < since or entries - removed > entries_max or bytes - freed > bytes_max
end
-- Takes note of an entry that goes; false where the piece ends before it.
local function take(of_event, output, weight, entry_running, entry_time)
  local at = of_event .. '-' .. output
  if at <= floor then
    return true
  end
  -- Only between two events may the piece end.
  if of_event ~= event then
    if not goes(entry_time) then
      return false
    end
    if removed >= piece_entries or freed >= piece_bytes then
      more = 1
      return false
    end
  end
  event, position, running, time = of_event, at, entry_running, entry_time
  removed, freed = removed + 1, freed + weight
  return true
end
local function take_row(id, row, count)
  if count == 1 then
    local of_event, output = string.match(id, '^(%d+)-(%d+)$')
    local entry_running, entry_time = struct.unpack('<I8I8', row, 2)
    return take(string.rep('0', 20 - #of_event) .. of_event, string.rep('0', 10 - #output) .. output, #row,
      entry_running, entry_time)
  end
  local from = 1
  while from <= #row do
    local low, high, output, weight, _, entry_running, entry_time = struct.unpack('<I4I4I4I4BI8I8', row, from)
    if not take(event_of(low, high), string.format('%010.0f', output), weight, entry_running, entry_time) then
      return false
    end
    from = from + 16 + weight
  end
  return true
end
each_row(stream, '-', piece_entries, piece_bytes, take_row)
if removed == 0 then
  return 0
end
redis.call('XTRIM', stream, 'MINID', '=', event .. '-4294967296')
-- The floor is above the one that was.
redis.call('HSET', company, 'f', position .. ' ' .. whole(time) .. ' trimmed ' .. whole(running), 'n', whole(entries - removed),
  'x', redis.call('XLEN', stream), 'y', whole(bytes - freed))
return more
