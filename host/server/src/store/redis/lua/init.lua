-- Gives an empty store its id. Whatever a lost head left behind belongs to another life and goes.
-- KEYS: head, generations, outbox, companies, times, waiting, records. ARGV: id, then the beginnings of a company's keys.
if redis.call('HEXISTS', KEYS[1], 'store') == 1 then
  return 0
end
for _, company in ipairs(redis.call('SMEMBERS', KEYS[4])) do
  for i = 2, #ARGV do
    redis.call('UNLINK', ARGV[i] .. company)
  end
end
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7])
redis.call('HSET', KEYS[1], 'store', ARGV[1])
return 1
