-- State of a company's filters, after whether some of it is gone.
-- KEYS: head, companies, waiting, states, generations, company, backlog, state. ARGV: name.
local gone, counted = missing(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5])
gone = gone == 'states' or state_gone(KEYS[4], KEYS[8], ARGV[1], counted)
return { gone and 1 or 0, redis.call('HGETALL', KEYS[8]) }
