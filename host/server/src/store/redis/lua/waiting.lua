-- The oldest waiting inputs, after whether some of them are gone. KEYS: company, backlog. ARGV: inputs, bytes.
local company = redis.call('HMGET', KEYS[1], 'w', 'wy')
local average = tonumber(company[2] or 0) / math.max(tonumber(company[1] or 0), 1)
local gone = redis.call('XLEN', KEYS[2]) < tonumber(company[1] or 0)
local found = read(KEYS[2], '-', tonumber(ARGV[1]), tonumber(ARGV[2]), average)
return { gone and 1 or 0, found }
