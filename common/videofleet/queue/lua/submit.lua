-- (new) → queued. ARGV: id, tenant, request, created_at_ms, idempotency digest or '', body digest, idempotency ttl in ms,
-- priority, tier's name, tier's cost, deadline in ms or '', and last the URL of its webhook or ''
-- → {'created' | 'known', id} | {'unknown'} | {'closed'} | {'full', limit} | {'conflict'}
local id, tenant, request, created_at_ms, idem, body, idem_ttl_ms, priority, tier, cost, deadline_ms = unpack(ARGV)
local idem_key = P .. ':idem:' .. tenant .. ':' .. idem
if redis.call('EXISTS', job_key(id)) == 1 then return { 'known', id } end -- the caller asks again after a lost reply
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
local seq = redis.call('INCR', P .. ':seq')
redis.call('HSET', job_key(id), 'id', id, 'tenant', tenant, 'request', request, 'state', 'queued', 'seq', seq,
  'priority', priority, 'tier', tier, 'cost', cost, 'created_at_ms', created_at_ms, 'queued_at_ms', int(now_ms()),
  'attempt', 0, 'spent', 0)
if deadline_ms ~= '' then redis.call('HSET', job_key(id), 'deadline_ms', deadline_ms) end
subscribe(id, ARGV[#ARGV])
enter(id)
redis.call('ZADD', P .. ':tenant:' .. tenant, 0, id)
if idem ~= '' then
  redis.call('HSET', idem_key, 'id', id, 'body', body)
  redis.call('PEXPIRE', idem_key, idem_ttl_ms)
end
return { 'created', id }
