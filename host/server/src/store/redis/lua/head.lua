-- What stands at the head, and at last what is missing of the bookkeeping. KEYS: head, companies, waiting, states, generations.
local head = redis.call('HMGET', KEYS[1], 'store', 'token', 'number', 'checkpoint', 'floor', 'chains', 'rebuild')
for i = 1, 7 do
  head[i] = head[i] or ''
end
head[8] = redis.call('HGETALL', KEYS[5])
head[9] = redis.call('HGETALL', KEYS[3])
head[10] = missing(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]) or ''
return head
