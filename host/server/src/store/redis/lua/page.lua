-- A page and everything that is true at that moment. KEYS: head, company, stream, companies.
-- ARGV: above, entries, bytes, name.
local head = redis.call('HMGET', KEYS[1], 'store', 'token', 'number', 'generation', 'checkpoint', 'floor', 'rebuild',
  'companies')
local company = redis.call('HMGET', KEYS[2], 'f', 'r', 'wf', 'n', 'x', 't', 'tm')
local answer = {}
for i = 1, 7 do
  answer[i] = head[i] or ''
end
for i = 1, 3 do
  answer[7 + i] = company[i] or ''
end
local entries = tonumber(ARGV[2])
local found, full = {}, false
local rows = company[5] or company[4]
if entries > 0 and rows then
  found, full = read(KEYS[3], '(' .. ARGV[1], entries, tonumber(ARGV[3]))
end
answer[11] = full and 1 or 0
answer[12] = found
-- Where it was evicted, the company's top and its time as far as they are known.
if evicted(rows, KEYS[3], KEYS[4], ARGV[4], head[8]) then
  answer[13], answer[14] = company[6] or '', company[7] or ''
end
return answer
