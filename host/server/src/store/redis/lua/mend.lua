-- Says with a floor what Redis evicted of a company's replay, and lets the rest of it go. Without its head nobody knows whether
-- something waited for it: where the bookkeeping can't say no, the store is no longer one and is filled again.
-- KEYS: head, company, stream, companies, waiting. ARGV: name, floor.
local head, company, stream, companies, waits = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local name, floor = ARGV[1], ARGV[2]
local had = redis.call('HMGET', company, 'n', 'f')
local counted = redis.call('HMGET', head, 'companies', 'waits')
if not evicted(had[1], stream, companies, name, counted[1]) then
  return 0
end
local incomplete = redis.call('SCARD', companies) < tonumber(counted[1] or 0)
  or redis.call('HLEN', waits) < tonumber(counted[2] or 0)
if not had[1] and (incomplete or redis.call('HEXISTS', waits, name) == 1) then
  redis.call('UNLINK', head)
  return 0
end
redis.call('UNLINK', stream)
if had[2] and string.sub(had[2], 1, 31) >= string.sub(floor, 1, 31) then
  floor = had[2]
end
redis.call('HSET', company, 'n', '0', 'y', '0', 'f', floor)
return 1
