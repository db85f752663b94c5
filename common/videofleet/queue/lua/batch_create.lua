-- A batch whose lines were staged before. KEYS[1]: the tenant's prefix. ARGV: id, staging key, created_at_ms, lines,
-- idempotency digest or '', body digest, ttl in ms → {'created' | 'known', id} | {'conflict'}
local id, staged, created_at_ms, total, idem, body, ttl_ms = unpack(ARGV)
local key, idem_key = P .. ':batch:' .. id, P .. ':batch_idem:' .. idem
if redis.call('EXISTS', key) == 1 then return { 'known', id } end -- the caller asks again after a lost reply
local before = idem ~= '' and redis.call('HMGET', idem_key, 'id', 'body')
if before and before[1] then
  redis.call('DEL', staged)
  if before[2] ~= body then return { 'conflict' } end
  return { 'known', before[1] }
end
redis.call('RENAME', staged, key .. ':lines')
redis.call('HSET', key, 'id', id, 'created_at_ms', created_at_ms, 'total', total, 'cursor', 0, 'idem_key', idem_key)
redis.call('ZADD', P .. ':batches', 0, id)
for _, each in ipairs({ key, key .. ':lines', P .. ':batches' }) do redis.call('PEXPIRE', each, ttl_ms) end
if idem ~= '' then
  redis.call('HSET', idem_key, 'id', id, 'body', body)
  redis.call('PEXPIRE', idem_key, ttl_ms)
end
return { 'created', id }
