-- What stands at the head. KEYS: head, generations, waiting.
local head = redis.call('HMGET', KEYS[1], 'store', 'token', 'number', 'checkpoint', 'floor', 'chains')
for i = 1, 6 do
  head[i] = head[i] or ''
end
head[7] = redis.call('HGETALL', KEYS[2])
head[8] = redis.call('HGETALL', KEYS[3])
return head
