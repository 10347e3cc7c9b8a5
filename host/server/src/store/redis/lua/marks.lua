-- The marks around one: marks ascend with their minutes, so the ranks are searched by halves.
-- KEYS: times. ARGV: mark.
local times, wanted = KEYS[1], ARGV[1]
local low, high = 0, redis.call('ZCARD', times)
while low < high do
  local middle = math.floor((low + high) / 2)
  if redis.call('ZRANGE', times, middle, middle)[1] < wanted then
    low = middle + 1
  else
    high = middle
  end
end
local function at(rank)
  if rank < 0 then
    return {}
  end
  return redis.call('ZRANGE', times, rank, rank, 'WITHSCORES')
end
return { at(low - 1), at(low) }
