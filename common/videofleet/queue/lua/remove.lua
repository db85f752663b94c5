-- Forgets a finished job. ARGV: id → 'removed' | 'missing' | 'unfinished'
local id = ARGV[1]
local state, tenant = fields(id, 'state', 'tenant')
if not state then return 'missing' end
if state == 'queued' or state == 'running' then return 'unfinished' end
redis.call('ZREM', P .. ':tenant:' .. tenant, id)
redis.call('ZREM', P .. ':dead:' .. tenant, id)
redis.call('ZREM', FINISHED, id)
redis.call('HINCRBY', usage_key(tenant), state, -1)
redis.call('DEL', job_key(id))
return 'removed'
