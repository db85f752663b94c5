-- How a delivery ended. ARGV: id, token, 'delivered' | 'failed' | 'disabled' | 'again' | 'later', delay in ms, how long a
-- URL stays disabled in ms → 1, or 0 when the notice is not the caller's any more. `later` was no attempt.
local id, token, outcome, delay_ms, disabled_ms = unpack(ARGV)
local held, tenant, url = fields(id, 'notice_token', 'tenant', 'webhook')
if held ~= token then return 0 end
redis.call('HDEL', job_key(id), 'notice_token')
if outcome ~= 'later' then redis.call('HINCRBY', job_key(id), 'notice_attempts', 1) end
if outcome == 'again' or outcome == 'later' then
  redis.call('ZADD', OUTBOX, int(now_ms() + delay_ms), id)
  return 1
end
redis.call('ZREM', OUTBOX, id)
redis.call('HSET', job_key(id), 'notice_state', outcome)
if outcome == 'disabled' then redis.call('SET', disabled_key(tenant, url), 1, 'PX', disabled_ms) end
return 1
