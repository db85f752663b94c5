-- Forgets a job in any state: what waits or runs is cancelled first, and its worker hears `lost` at the next beat.
-- ARGV: id → {'removed', what is owed to the store or nil} | {'missing'}
local id = ARGV[1]
local state = field(id, 'state')
if not state then return { 'missing' } end
if state == 'queued' or state == 'running' then finish_cancelled(id, 'cancelled') end
local tenant, webhook = fields(id, 'tenant', 'webhook')
if webhook then redis.call('DEL', disabled_key(tenant, webhook)) end -- it names the tenant
return { 'removed', forget(id) }
