-- Says with a floor what Redis evicted of a company's replay, and lets the rest of it go. Without its head nobody knows whether
-- something waited for it or its filters kept something: where the bookkeeping can't say no, the store is no longer one and
-- is filled again.
-- KEYS: head, companies, waiting, states, generations, company, stream, state. ARGV: name, floor.
local head, companies, waits, states, company, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[6], KEYS[7]
local name, floor = ARGV[1], ARGV[2]
local had = redis.call('HMGET', company, 'n', 'f', 'x')
local listed = redis.call('HGET', head, 'companies')
if not evicted(had[3] or had[1], stream, companies, name, listed) then
  return 0
end
if not had[1] then
  local gone, counted = missing(head, companies, waits, states, KEYS[5])
  if gone or redis.call('HEXISTS', waits, name) == 1 or state_gone(states, KEYS[8], name, counted) then
    redis.call('UNLINK', head)
    return 0
  end
end
redis.call('UNLINK', stream)
if had[2] and string.sub(had[2], 1, 31) >= string.sub(floor, 1, 31) then
  floor = had[2]
end
redis.call('HSET', company, 'n', '0', 'x', '0', 'y', '0', 'f', floor)
return 1
