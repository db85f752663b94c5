-- dead → queued, at the end of the line, with all its attempts. `attempt` counts on: files are named by it.
-- ARGV: id → 'queued' | 'missing' | 'alive' | 'closed' | {'full', limit}
local job = read(ARGV[1])
if not job then return 'missing' end
if job.state ~= 'dead' then return 'alive' end
local rules = policy()
if closed() or not rules then return 'closed' end
if depth() >= rules.maxDepth then return { 'full', rules.maxDepth } end
redis.call('ZREM', FINISHED, job.id)
redis.call('ZREM', P .. ':dead:' .. job.tenant, job.id)
drop(job, 'error_code', 'error_message', 'finished_at_ms', 'given_back', 'deadline_ms', 'cancel_code', 'ended_token',
  'decided', 'lowered', 'fallback')
put(job, 'line', 'stable')
put(job, 'spent', 0)
put(job, 'seq', redis.call('HINCRBY', TOTALS, 'seq', 1))
put(job, 'queued_at_ms', now_ms())
move(job, 'queued')
enter(job)
save(job)
return 'queued'
