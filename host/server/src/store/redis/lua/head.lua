-- What stands at the head. KEYS: head, generations, waiting.
local head = redis.call('HMGET', KEYS[1], 'store', 'token', 'number', 'checkpoint', 'floor', 'chains', 'rebuild')
for i = 1, 7 do
  head[i] = head[i] or ''
end
head[8] = redis.call('HGETALL', KEYS[2])
head[9] = redis.call('HGETALL', KEYS[3])
return head
