-- The lease, in the words of core::lease, by the clock of the store.
-- KEYS: lease. ARGV: what to do, token, lease in ms, host (acquire) or channel and message (release).
local lease, todo, token = KEYS[1], ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local stored = redis.call('HMGET', lease, 'token', 'holder', 'until')
local holder, till = stored[2] or '', tonumber(stored[3] or 0)
local function whole(number)
  return string.format('%.0f', number)
end
if todo == 'acquire' then
  local host = ARGV[4]
  if holder ~= '' and holder ~= host and till > now then
    return { 'held', holder, whole(till - now) }
  end
  local epoch = redis.call('HINCRBY', lease, 'epoch', 1)
  redis.call('HSET', lease, 'token', token, 'holder', host, 'until', whole(now + tonumber(ARGV[3])))
  return { 'granted', whole(epoch) }
end
if stored[1] ~= token or holder == '' then
  return { 'other' }
end
if todo == 'renew' then
  redis.call('HSET', lease, 'until', whole(now + tonumber(ARGV[3])))
else
  redis.call('HSET', lease, 'holder', '', 'until', '0')
  -- Telling is never a reason to fail: without it a stand-by asks a little later.
  redis.pcall('PUBLISH', ARGV[4], ARGV[5])
end
return { 'own' }
