-- Looks up what goes (whole events, a bounded piece), writes the floor, then trims.
-- Reads time and running number where core::entry::Entry::encode puts them: after a version byte, running, then time.
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
local entries, bytes = tonumber(had[1]), tonumber(had[2] or 0)
local step = math.max(1, math.min(128, math.floor(1048576 * math.max(entries, 1) / math.max(bytes, 1))))
local removed, freed, more = 0, 0, 0
local event, last_id, last_entry
local function goes(entry)
  return struct.unpack('<I8', entry, 10) < since or entries - removed > entries_max or bytes - freed > bytes_max
end
local from, done = '-', false
while not done do
  local found = redis.call('XRANGE', stream, from, '+', 'COUNT', step)
  for _, item in ipairs(found) do
    local id, entry = item[1], item[2][2]
    local of_event = string.match(id, '^(%d+)-')
    -- Only between two events may the piece end.
    if of_event ~= event then
      if not goes(entry) then
        done = true
        break
      end
      if removed >= piece_entries or freed >= piece_bytes then
        done, more = true, 1
        break
      end
      event = of_event
    end
    removed, freed, last_id, last_entry = removed + 1, freed + #entry, id, entry
    from = '(' .. id
  end
  if #found < step then
    done = true
  end
end
if removed == 0 then
  return 0
end
local output = string.match(last_id, '-(%d+)$')
local running, time = struct.unpack('<I8I8', last_entry, 2)
local position = string.rep('0', 20 - #event) .. event .. '-' .. string.rep('0', 10 - #output) .. output
if not had[3] or position > string.sub(had[3], 1, 31) then
  redis.call('HSET', company, 'f', position .. ' ' .. whole(time) .. ' trimmed ' .. whole(running))
end
redis.call('HSET', company, 'n', whole(entries - removed), 'y', whole(bytes - freed))
redis.call('XTRIM', stream, 'MINID', '=', event .. '-4294967296')
return more
