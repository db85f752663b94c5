-- dead → queued, at the end of the line, with all its attempts. `attempt` counts on: files are named by it.
-- ARGV: id → 'queued' | 'missing' | 'alive' | 'closed' | {'full', limit}
local id = ARGV[1]
local state, tenant = fields(id, 'state', 'tenant')
if not state then return 'missing' end
if state ~= 'dead' then return 'alive' end
local rules = policy()
if closed() or not rules then return 'closed' end
if depth() >= rules.maxDepth then return { 'full', rules.maxDepth } end
redis.call('ZREM', FINISHED, id)
redis.call('ZREM', P .. ':dead:' .. tenant, id)
redis.call('HDEL', job_key(id), 'error_code', 'error_message', 'finished_at_ms', 'given_back', 'deadline_ms',
  'cancel_code', 'ended_token', 'decided', 'lowered', 'fallback')
redis.call('HSET', job_key(id), 'line', 'stable', 'spent', 0, 'seq', redis.call('INCR', P .. ':seq'),
  'queued_at_ms', int(now_ms()))
move(id, 'queued')
note_arrival(fields(id, 'tier', 'cost'))
enter(id)
return 'queued'
