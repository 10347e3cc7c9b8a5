-- The row in which an entry stands, if it stands anywhere, after the company's floor. KEYS: company, stream. ARGV: where.
local row = redis.call('XRANGE', KEYS[2], ARGV[1], '+', 'COUNT', 1)[1]
if not row then
  return {}
end
return { redis.call('HGET', KEYS[1], 'f') or '', row[1], row[2][2], row[2][4] or '' }
