-- Forgets finished jobs that are older than the policy's retention, a page at a time → their ids
local rules = policy()
if not rules or not rules.retentionS then return {} end
local over = now_ms() - rules.retentionS * 1000
local ids = redis.call('ZRANGEBYSCORE', FINISHED, '-inf', int(over), 'LIMIT', 0, PAGE)
for _, id in ipairs(ids) do forget(read(id)) end
return ids
