-- The oldest waiting inputs, after whether some of them are gone. KEYS: company, backlog. ARGV: inputs, bytes.
local gone = redis.call('XLEN', KEYS[2]) < tonumber(redis.call('HGET', KEYS[1], 'w') or 0)
local found = read(KEYS[2], '-', tonumber(ARGV[1]), tonumber(ARGV[2]))
return { gone and 1 or 0, found }
