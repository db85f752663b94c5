-- What a tenant has in this fleet, against its limits. ARGV: tenant, idempotency digest or '', tier, cost
-- → {1 when the digest names a job, else 0; queued; running; seconds ahead and used today; seconds the tier takes}
local tenant, idem, tier, cost = unpack(ARGV)
local known = idem ~= '' and redis.call('EXISTS', P .. ':idem:' .. tenant .. ':' .. idem) or 0
local queued, running, ahead_ms, day, day_ms =
  unpack(redis.call('HMGET', usage_key(tenant), 'queued', 'running', 'ahead_ms', 'day', 'day_ms'))
local today_ms = day == int(now_ms() / DAY_MS) and day_ms or 0
local seconds = ((ahead_ms or 0) + today_ms) / 1000
return { known, tonumber(queued or 0), tonumber(running or 0), tostring(seconds), tostring(expected_s(tier, cost)) }
