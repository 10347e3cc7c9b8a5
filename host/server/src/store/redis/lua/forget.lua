-- Removes keys of a life that ended, unless another host has begun the next one. KEYS: head, then what goes.
if redis.call('HEXISTS', KEYS[1], 'store') == 1 then
  return 0
end
redis.call('UNLINK', unpack(KEYS))
return 1
