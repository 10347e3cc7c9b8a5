-- State of a company's filters, after how many fields it has to have. KEYS: company, state.
return { redis.call('HGET', KEYS[1], 's') or '', redis.call('HGETALL', KEYS[2]) }
