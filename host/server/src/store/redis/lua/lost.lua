-- Gives a store up that lost bookkeeping, or waiting inputs or state of a company: it is filled again. Looks again whether that
-- is so. KEYS: head, companies, waiting, states, generations, and for one company: its head, backlog, state. ARGV: its name.
local gone, counted = missing(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5])
if not gone and KEYS[6] then
  if redis.call('XLEN', KEYS[7]) < tonumber(redis.call('HGET', KEYS[6], 'w') or 0) then
    gone = 'waiting inputs'
  elseif state_gone(KEYS[4], KEYS[8], ARGV[1], counted) then
    gone = 'state'
  end
end
if gone then
  redis.call('UNLINK', KEYS[1])
end
return gone or ''
