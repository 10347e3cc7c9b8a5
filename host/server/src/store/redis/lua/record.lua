-- The first record whose checkpoint is at or above an event: checkpoints never go back from commit to commit, so the
-- commits' numbers are searched by halves. KEYS: records. ARGV: the event, as records write it.
local records, wanted = KEYS[1], ARGV[1]
local function number(id)
  return tonumber(string.match(id, '^(%d+)-'))
end
local function from(low)
  return redis.call('XRANGE', records, string.format('%.0f', low), '+', 'COUNT', 1)[1]
end
local function reaches(record)
  -- After the time come a version byte and the checkpoint.
  return string.sub(record[2][2], 10, 17) >= wanted
end
local newest = redis.call('XREVRANGE', records, '+', '-', 'COUNT', 1)[1]
if not newest or not reaches(newest) then
  return {}
end
local low, high = number(from(0)[1]), number(newest[1])
while low < high do
  local middle = math.floor((low + high) / 2)
  local found = from(middle)
  if reaches(found) then
    high = middle
  else
    low = number(found[1]) + 1
  end
end
local found = from(low)
return { found[1], found[2][2] }
