-- Gives an empty store its id. KEYS: head. ARGV: id.
return redis.call('HSETNX', KEYS[1], 'store', ARGV[1])
