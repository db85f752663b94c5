-- An Idempotency-Key of a tenant, over all its fleets. KEYS[1]: the tenant's prefix. ARGV: digest, fleet, body digest, ttl in
-- ms → {'first'} | {'used', the fleet it was used for} | {'conflict'}
local digest, fleet, body, ttl_ms = unpack(ARGV)
local uses, ends = P .. ':idem', P .. ':idem_ends' -- digest → `<fleet> <body digest>`, digest → when it is forgotten
for _, old in ipairs(due(ends)) do
  redis.call('HDEL', uses, old)
  redis.call('ZREM', ends, old)
end
local before = redis.call('HGET', uses, digest)
if before then
  local used_for, used_body = string.match(before, '^(%S+) (%S*)$')
  if used_body ~= body then return { 'conflict' } end
  return { 'used', used_for }
end
redis.call('HSET', uses, digest, fleet .. ' ' .. body)
redis.call('ZADD', ends, int(now_ms() + ttl_ms), digest)
return { 'first' }
