-- Forgets a finished job. ARGV: id → 'removed' | 'missing' | 'unfinished'
local id = ARGV[1]
local state = field(id, 'state')
if not state then return 'missing' end
if state == 'queued' or state == 'running' then return 'unfinished' end
redis.call('ZREM', P .. ':tenant:' .. field(id, 'tenant'), id)
redis.call('ZREM', FINISHED, id)
redis.call('DEL', job_key(id))
return 'removed'
