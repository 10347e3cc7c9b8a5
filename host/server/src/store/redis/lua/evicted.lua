-- Has Redis evicted the head of a company or its replay? `rows` is what the head counts, if there is one. A company that
-- is in the catalogue has a head, and no replay is shorter than its head says. Nor does a catalogue ever lose a name.
local function evicted(rows, stream, companies, name, listed)
  if not rows then
    return redis.call('SISMEMBER', companies, name) == 1 or redis.call('SCARD', companies) < tonumber(listed or 0)
  end
  return redis.call('XLEN', stream) < tonumber(rows)
end
