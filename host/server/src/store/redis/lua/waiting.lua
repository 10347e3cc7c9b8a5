-- The oldest waiting inputs, after whether some of them are gone. KEYS: company, backlog. ARGV: inputs, bytes.
local company = redis.call('HMGET', KEYS[1], 'w', 'wy')
local inputs = tonumber(company[1] or 0)
local gone = redis.call('XLEN', KEYS[2]) < inputs
local found = read(KEYS[2], '-', tonumber(ARGV[1]), tonumber(ARGV[2]), inputs, tonumber(company[2] or 0), inputs)
return { gone and 1 or 0, found }
