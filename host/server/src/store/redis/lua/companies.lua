-- Heads of companies of the catalogue; nothing for one whose head was evicted. KEYS: their hashes.
local answer = {}
for i, key in ipairs(KEYS) do
  local head = redis.call('HMGET', key, 'r', 't', 'n', 'y', 'w', 'wy', 'wf', 'f')
  if head[3] then
    for j = 1, 8 do
      head[j] = head[j] or ''
    end
    answer[i] = head
  else
    answer[i] = {}
  end
end
return answer
