-- ARGV: token, lease in ms, most → {the job as `tell` has it, …}: due notices, for one deliverer until the lease ends
local token, lease_ms, most = unpack(ARGV)
local now, taken = now_ms(), {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', OUTBOX, '-inf', now, 'LIMIT', 0, most)) do
  local state, tenant, url = fields(id, 'state', 'tenant', 'webhook')
  if not url or state == 'queued' or state == 'running' then
    redis.call('ZREM', OUTBOX, id)
  elseif redis.call('EXISTS', disabled_key(tenant, url)) == 1 then
    redis.call('ZREM', OUTBOX, id)
    redis.call('HSET', job_key(id), 'notice_state', 'disabled')
  else
    redis.call('ZADD', OUTBOX, int(now + lease_ms), id)
    redis.call('HSET', job_key(id), 'notice_token', token)
    taken[#taken + 1] = tell(id)
  end
end
return taken
