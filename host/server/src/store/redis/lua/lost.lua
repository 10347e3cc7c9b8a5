-- Gives a store up that lost waiting inputs or state of a company: it is filled again. Looks again whether that is so.
-- KEYS: head, company, backlog, state.
local had = redis.call('HMGET', KEYS[2], 'w', 's')
if redis.call('XLEN', KEYS[3]) < tonumber(had[1] or 0) or redis.call('HLEN', KEYS[4]) < tonumber(had[2] or 0) then
  return redis.call('UNLINK', KEYS[1])
end
return 0
