-- Forgets a job in any state: what waits or runs is cancelled first, and its worker hears `lost` at the next beat.
-- ARGV: id → {'removed', what is owed to the store or nil} | {'missing'}
go_on_when_full()
local job = read(ARGV[1])
if not job then return { 'missing' } end
if is_unfinished(job.state) then finish_cancelled(job, 'cancelled') end
if job.webhook then redis.call('DEL', disabled_key(job.tenant, job.webhook)) end -- it names the tenant
return { 'removed', forget(job) }
