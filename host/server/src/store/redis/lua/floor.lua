-- Raises a company's floor. KEYS: lease, company, companies. ARGV: token, floor, name.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return 0
end
local had = redis.call('HGET', KEYS[2], 'f')
if not had or string.sub(ARGV[2], 1, 31) > string.sub(had, 1, 31) then
  redis.call('HSET', KEYS[2], 'f', ARGV[2])
  redis.call('SADD', KEYS[3], ARGV[3])
end
return 1
