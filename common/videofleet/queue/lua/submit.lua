-- (new) → queued. ARGV: id, tenant, request, idempotency digest or '', body digest, idempotency ttl in ms, priority, tier's
-- name, cost and shape, guidance, 1 when a lower tier will do, deadline in ms or '', webhook's URL or '', how many
-- jobs the tenant may have running here, 0 for any number, '' to leave that as it is; erasures that the caller knew of, or ''
-- → {'created' | 'known', id} | {'unknown'} | {'closed'} | {'full', limit} | {'conflict'} | {'erased'}
local id, tenant, request, idem, body, idem_ttl_ms, priority = unpack(ARGV, 1, 7)
local tier, cost, shape, guidance, allow_fallback, deadline_ms, webhook, most_running, erasures = unpack(ARGV, 8)
local idem_key = P .. ':idem:' .. tenant .. ':' .. idem
if redis.call('EXISTS', job_key(id)) == 1 then return { 'known', id } end -- the caller asks again after a lost reply
if erasures ~= '' and erasures ~= (redis.call('GET', P .. ':erasures') or '0') then return { 'erased' } end
if idem ~= '' then
  local before = redis.call('HMGET', idem_key, 'id', 'body')
  if before[1] then
    if before[2] ~= body then return { 'conflict' } end
    if redis.call('EXISTS', job_key(before[1])) == 1 then return { 'known', before[1] } end
  end
end
local rules = policy()
if not rules then return { 'unknown' } end
if closed() then return { 'closed' } end
if depth() >= rules.maxDepth then return { 'full', rules.maxDepth } end
local job = {
  id = id, tenant = tenant, priority = priority, tier = tier, cost = cost, line = admit(tenant, rules),
  seq = redis.call('HINCRBY', TOTALS, 'seq', 1), deadline_ms = deadline_ms ~= '' and deadline_ms or nil, changed = {},
}
redis.call('HSET', REQUESTS, id, request)
if most_running == '0' then redis.call('HDEL', usage_key(tenant), 'most_running')
elseif most_running ~= '' then redis.call('HSET', usage_key(tenant), 'most_running', most_running) end
move(job, 'queued')
enter(job)
redis.call('ZADD', P .. ':tenant:' .. tenant, 0, id)
redis.call('HSET', job_key(id), 'tenant', tenant, 'priority', priority, 'tier', tier, 'cost', cost, 'shape', shape,
  'guidance', guidance, 'allow_fallback', allow_fallback, 'line', job.line, 'seq', job.seq, 'queued_at_ms', now_ms(),
  'attempt', 0, 'spent', 0, 'state', job.state, 'ahead_ms', job.ahead_ms)
if job.deadline_ms then redis.call('HSET', job_key(id), 'deadline_ms', deadline_ms) end
if webhook ~= '' then redis.call('HSET', job_key(id), 'webhook', webhook) end
if idem ~= '' then
  redis.call('HSET', job_key(id), 'idem', idem) -- so that it leaves with the job
  redis.call('HSET', idem_key, 'id', id, 'body', body)
  redis.call('PEXPIRE', idem_key, idem_ttl_ms)
end
return { 'created', id }
