-- State of a company's filters, after whether some of it is gone.
-- KEYS: head, companies, waiting, states, generations, company, backlog, state. ARGV: name.
local gone, counted = missing(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5])
local kept = counted and tonumber(redis.call('HGET', KEYS[4], ARGV[1]) or 0) or 0
return { (gone == 'states' or redis.call('HLEN', KEYS[8]) < kept) and 1 or 0, redis.call('HGETALL', KEYS[8]) }
