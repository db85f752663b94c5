-- Forgets a finished job. ARGV: id → {'removed', what is owed to the store or nil} | {'missing'} | {'unfinished'}
local job = read(ARGV[1])
if not job then return { 'missing' } end
if is_unfinished(job.state) then return { 'unfinished' } end
return { 'removed', forget(job) }
