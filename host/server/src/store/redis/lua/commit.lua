-- One commit, all or nothing (the same words as core::commit::decide; that nothing was evicted is asked only here).
-- Everything is checked before the first write.
-- Positions are compared as texts of fixed width: numbers here are floating-point and would lose them.
-- KEYS: head, lease, generations, outbox, companies, times, waiting, records, states, then stream, company, backlog, state of
-- each part.
local head, lease, generations, outbox, companies, times = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local waits, records, states = KEYS[7], KEYS[8], KEYS[9]
local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end
local function whole(number)
  return string.format('%.0f', number)
end

local token, number, follows_token, follows_number = take(), take(), take(), take()
local generation, generation_row, generations_max = take(), take(), tonumber(take())
local checkpoint, mark, minute = take(), take(), tonumber(take())
local floor, chains, rebuild = take(), take(), take()
local letters_max, letter_bytes_max = tonumber(take()), tonumber(take())
local parts, letters, news = tonumber(take()), tonumber(take()), take()
local record, records_max, record_bytes_max, removed_max = take(), tonumber(take()), tonumber(take()), tonumber(take())

if redis.call('HGET', lease, 'token') ~= token then
  return { 'not-owner' }
end
local stored = redis.call('HMGET', head, 'token', 'number', 'generation', 'floor', 'store', 'companies', 'outbox')
local last_token, last_number = stored[1] or string.rep('0', 32), stored[2] or '0'

-- Each part's numbers and texts come as one argument (push_header in redis/commit.rs): an argument each costs more than the part.
local header = '<I4I4I4I4I4I4' .. string.rep('Bc0', 8)
local work = {}
for i = 1, parts do
  local key, part = 9 + (i - 1) * 4, {}
  part.stream, part.company, part.backlog, part.state = KEYS[key + 1], KEYS[key + 2], KEYS[key + 3], KEYS[key + 4]
  part.rows, part.outputs, part.weight, part.adds, part.sets, part.deletes, part.name, part.first, part.top, part.top_ms,
    part.running, part.first_waiting, part.waiting_top, part.keep_from = struct.unpack(header, take())
  work[i] = part
end
local function places(answer)
  for _, part in ipairs(work) do
    if part.adds > 0 or part.keep_from ~= '' then
      answer[#answer + 1] = part.name
      answer[#answer + 1] = redis.call('HGET', part.company, 'wf') or ''
    end
  end
  return answer
end

if last_token ~= follows_token or last_number ~= follows_number then
  if last_token == token and tonumber(last_number) >= tonumber(number) then
    return places({ 'stored' })
  end
  return { 'refused', 'follows' }
end
if tonumber(stored[3] or '0') > tonumber(generation) then
  return { 'refused', 'generation' }
end
-- A store that lost part of its bookkeeping, or of what waits or a filter keeps, to eviction is no longer one: it begins
-- anew and is filled from the source.
local function give_up(what)
  redis.call('UNLINK', head)
  return { 'refused', 'evicted', what }
end
local gone, counted = missing(head, companies, waits, states, generations)
if gone then
  return give_up(gone)
elseif tonumber(stored[7] or 0) > 0 and redis.call('EXISTS', outbox) == 0 then
  return give_up('outbox')
end
local mend = { 'evicted' }
for _, part in ipairs(work) do
  local had = redis.call('HMGET', part.company, 't', 'n', 'y', 'x', 'w', 'wt')
  if evicted(had[4] or had[2], part.stream, companies, part.name) then
    mend[#mend + 1] = part.name
  elseif tonumber(had[5] or 0) > 0 and redis.call('XLEN', part.backlog) < tonumber(had[5]) then
    return give_up(part.backlog)
  elseif part.sets + part.deletes > 0 and state_gone(states, part.state, part.name, counted) then
    return give_up(part.state)
  end
  if part.rows > 0 and had[1] and part.first <= had[1] then
    return { 'refused', 'top', part.name }
  end
  if part.adds > 0 and had[6] and part.first_waiting <= had[6] then
    return { 'refused', 'backlog top', part.name }
  end
  part.had = had
end
if #mend > 1 then
  return mend
end

-- What other hosts are told, where one listens: fields, each after its length (read by redis/announcement.rs).
-- Telling is never a reason to fail: a user without the right to is one whose hosts read the store instead.
local told
if (redis.pcall('PUBSUB', 'NUMSUB', news)[2] or 0) > 0 then
  told = {}
end
local function tell(...)
  if not told then
    return
  end
  for _, field in ipairs({ ... }) do
    told[#told + 1] = struct.pack('<I4', #field)
    told[#told + 1] = field
  end
end
tell('commit', stored[5] or '', token, number, follows_token, follows_number, generation, generation_row, checkpoint,
  floor)

-- From here on nothing can be refused any more.
if not counted then
  -- Of an older version's host, or of none: what it says of states is not what they are now.
  redis.call('UNLINK', states)
end
for _, part in ipairs(work) do
  local had = part.had
  for _ = 1, part.rows do
    local id, count, row = take(), take(), take()
    redis.call('XADD', part.stream, id, 'e', row, 'n', count)
    tell('row', part.name, id, count, row)
  end
  if part.rows > 0 or not had[2] then
    -- In an older version's stream each entry has a row.
    local rows, entries = tonumber(had[4] or had[2] or 0) + part.rows, tonumber(had[2] or 0) + part.outputs
    redis.call('HSET', part.company, 'n', whole(entries), 'x', whole(rows), 'y', whole(tonumber(had[3] or 0) + part.weight),
      't', part.top, 'tm', part.top_ms, 'r', part.running)
  end
  if not had[2] then
    redis.call('SADD', companies, part.name)
  end
  if part.adds > 0 or part.keep_from ~= '' then
    local waits_now = redis.call('HMGET', part.company, 'wy', 'wk', 'wf')
    local waiting, waiting_top = tonumber(had[5] or 0), had[6] or ''
    local waiting_bytes, weighed, waiting_from = tonumber(waits_now[1] or 0), tonumber(waits_now[2] or 0), waits_now[3] or ''
    for _ = 1, part.adds do
      local id, entry, previous = take(), take(), take()
      redis.call('XADD', part.backlog, id, 'e', entry, 'p', previous, 'k', whole(weighed))
      weighed = weighed + #entry
      waiting_bytes = waiting_bytes + #entry
      waiting = waiting + 1
      if waiting_from == '' then
        waiting_from = previous
      end
      waiting_top = part.waiting_top
    end
    if part.keep_from ~= '' then
      redis.call('XTRIM', part.backlog, 'MINID', '=', part.keep_from)
      -- What remains is weighed by the running sum that each entry carries.
      local oldest = redis.call('XRANGE', part.backlog, '-', '+', 'COUNT', 1)[1]
      if oldest then
        waiting = redis.call('XLEN', part.backlog)
        waiting_from = oldest[2][4]
        waiting_bytes = weighed - tonumber(oldest[2][6])
      else
        waiting, waiting_from, waiting_bytes, weighed = 0, '', 0, 0
      end
    end
    redis.call('HSET', part.company, 'wt', waiting_top, 'w', whole(waiting), 'wy', whole(waiting_bytes), 'wk', whole(weighed),
      'wf', waiting_from)
    if waiting_from == '' then
      redis.call('HDEL', waits, part.name)
    else
      redis.call('HSET', waits, part.name, waiting_from)
    end
    tell('place', part.name, waiting_from)
  end
  for _ = 1, part.sets do
    local field, value = take(), take()
    redis.call('HSET', part.state, field, value)
  end
  for _ = 1, part.deletes do
    redis.call('HDEL', part.state, take())
  end
  if part.sets + part.deletes > 0 then
    local fields = redis.call('HLEN', part.state)
    if fields == 0 then
      redis.call('HDEL', states, part.name)
    else
      redis.call('HSET', states, part.name, whole(fields))
    end
  end
end

if letters > 0 then
  local kept, bytes, dropped = redis.call('XLEN', outbox), tonumber(redis.call('HGET', head, 'letter-bytes') or 0), 0
  for _ = 1, letters do
    local key, letter = redis.call('HINCRBY', head, 'letters', 1), take()
    redis.call('XADD', outbox, whole(key) .. '-0', 'e', letter)
    kept, bytes = kept + 1, bytes + #letter
  end
  -- A full outbox drops its oldest.
  while kept > letters_max or (bytes > letter_bytes_max and kept > 1) do
    local oldest = redis.call('XRANGE', outbox, '-', '+', 'COUNT', 1)[1]
    redis.call('XDEL', outbox, oldest[1])
    kept, bytes, dropped = kept - 1, bytes - #oldest[2][2], dropped + 1
  end
  redis.call('HSET', head, 'letter-bytes', whole(bytes), 'outbox', whole(kept))
  if dropped > 0 then
    redis.call('HINCRBY', head, 'dropped', whole(dropped))
  end
end

if floor ~= '' and (not stored[4] or string.sub(floor, 1, 31) > string.sub(stored[4], 1, 31)) then
  redis.call('HSET', head, 'floor', floor)
end

redis.call('HSET', generations, generation, generation_row)
while redis.call('HLEN', generations) > generations_max do
  local oldest
  for _, key in ipairs(redis.call('HKEYS', generations)) do
    if not oldest or tonumber(key) < tonumber(oldest) then
      oldest = key
    end
  end
  redis.call('HDEL', generations, oldest)
end

if checkpoint ~= '' then
  -- The index of times: the newest mark of a minute of a generation moves on, the others stay.
  local newest = redis.call('ZREVRANGE', times, 0, 0, 'WITHSCORES')
  local newest_mark, newest_minute = newest[1], tonumber(newest[2] or -1)
  if newest_minute > minute then
    minute = newest_minute
  end
  if newest_mark ~= mark then
    if newest_mark and newest_minute == minute and string.sub(newest_mark, 1, 5) == string.sub(mark, 1, 5) then
      redis.call('ZREM', times, newest_mark)
    end
    redis.call('ZADD', times, minute, mark)
  end
  redis.call('HSET', head, 'checkpoint', checkpoint)
end
if rebuild ~= '' then
  redis.call('HSET', head, 'rebuild', rebuild)
end
if chains ~= '' then
  redis.call('HSET', head, 'chains', chains)
end
if record ~= '' then
  -- A record that can't be written is no reason to fail: nothing but `explain` asks for it.
  local now = redis.call('TIME')
  local value = struct.pack('>I8', tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)) .. record
  if not redis.pcall('XADD', records, number .. '-0', 'e', value).err then
    local kept, bytes = redis.call('XLEN', records), tonumber(redis.call('HGET', head, 'record-bytes') or 0) + #value
    if kept == 1 then
      -- Whoever took the others away did not take their bytes off.
      bytes = #value
    end
    local removed, last = 0, nil
    while kept > 1 and (kept > records_max or bytes > record_bytes_max) and removed < removed_max do
      local oldest = redis.call('XRANGE', records, last and ('(' .. last) or '-', '+', 'COUNT', 1)[1]
      kept, bytes, removed, last = kept - 1, bytes - #oldest[2][2], removed + 1, oldest[1]
    end
    if last then
      redis.call('XTRIM', records, 'MINID', '=', string.match(last, '^%d+') .. '-1')
    end
    redis.call('HSET', head, 'record-bytes', whole(bytes))
  end
end
redis.call('HSET', head, 'token', token, 'number', number, 'generation', generation, 'counted', token .. ' ' .. number,
  'companies', whole(redis.call('SCARD', companies)), 'waits', whole(redis.call('HLEN', waits)),
  'states', whole(redis.call('HLEN', states)))
if told then
  redis.pcall('PUBLISH', news, table.concat(told))
end
return places({ 'stored' })
