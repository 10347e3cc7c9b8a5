-- Takes published letters out of the outbox, and their bytes off its weight.
-- KEYS: head, outbox, lease. ARGV: token, then their ids.
-- A store that went back gives the same ids to other letters: only whoever may commit now knows which they are.
if redis.call('HGET', KEYS[3], 'token') ~= ARGV[1] then
  return 0
end
if redis.call('EXISTS', KEYS[2]) == 0 then
  -- Evicted, or never there: who commits next finds it out.
  return 0
end
local bytes = 0
for number = 2, #ARGV do
  local id = ARGV[number]
  local letter = redis.call('XRANGE', KEYS[2], id, id)[1]
  if letter then
    redis.call('XDEL', KEYS[2], id)
    bytes = bytes + #letter[2][2]
  end
end
local kept = redis.call('XLEN', KEYS[2])
redis.call('HSET', KEYS[1], 'outbox', string.format('%.0f', kept))
if kept == 0 then
  redis.call('HDEL', KEYS[1], 'letter-bytes')
elseif bytes > 0 then
  redis.call('HINCRBY', KEYS[1], 'letter-bytes', string.format('%.0f', -bytes))
end
return 1
