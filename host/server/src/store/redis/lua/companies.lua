-- Heads of companies. KEYS: their hashes.
local answer = {}
for i, key in ipairs(KEYS) do
  local head = redis.call('HMGET', key, 'r', 't', 'n', 'y', 'w', 'wy', 'wf', 'f')
  for j = 1, 8 do
    head[j] = head[j] or ''
  end
  answer[i] = head
end
return answer
