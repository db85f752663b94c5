-- Forgets a finished job. ARGV: id → {'removed', what is owed to the store or nil} | {'missing'} | {'unfinished'}
local id = ARGV[1]
local state = field(id, 'state')
if not state then return { 'missing' } end
if state == 'queued' or state == 'running' then return { 'unfinished' } end
return { 'removed', forget(id) }
