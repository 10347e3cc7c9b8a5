-- Has Redis evicted some of the bookkeeping? Says what is missing, if anything, and whether the counts of what waits and of
-- states can be trusted: they name the commit that wrote them, and a host of an older version commits without counting.
local function missing(head, companies, waits, states, generations)
  local had = redis.call('HMGET', head, 'token', 'number', 'counted', 'generation', 'companies', 'waits', 'states')
  local counted = had[1] and had[3] == had[1] .. ' ' .. had[2]
  if redis.call('SCARD', companies) < tonumber(had[5] or 0) then
    return 'companies', counted
  elseif had[4] and redis.call('EXISTS', generations) == 0 then
    return 'generations', counted
  elseif counted and redis.call('HLEN', waits) < tonumber(had[6] or 0) then
    return 'waiting', counted
  elseif counted and redis.call('HLEN', states) < tonumber(had[7] or 0) then
    return 'states', counted
  end
  return nil, counted
end

-- Has Redis evicted what a company's filters keep? Without a count that can be trusted nobody can say so.
local function state_gone(states, state, name, counted)
  return counted and redis.call('HLEN', state) < tonumber(redis.call('HGET', states, name) or 0)
end
