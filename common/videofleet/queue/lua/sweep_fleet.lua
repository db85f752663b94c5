-- Takes away what is left of a fleet that was closed some time ago, once it has no record and owes no folder. What stays for
-- a while is the tombstone: `closed` without a policy, so that nothing publishes the fleet again.
-- ARGV: that time and the tombstone's life, in ms
-- → {'kept'} | {'tenants', name, …}: those to forget first, a page of them | {'swept'}
local code = closed()
if not code or redis.call('EXISTS', REQUESTS, FINISHED, RUNNING, LEAVING) > 0 then return { 'kept' } end
go_on_when_full()
if not is_void() then
  redis.call('HSETNX', TOTALS, 'closed_at_ms', now_ms()) -- an earlier version closed it
  if redis.call('HGET', TOTALS, 'closed_at_ms') + ARGV[1] > now_ms() then return { 'kept' } end
end
for _, line in ipairs(LINES) do
  for _, priority in ipairs(PRIORITIES) do
    local tenants = redis.call('ZRANGE', served_key(line, priority), 0, PAGE - 1)
    if tenants[1] then return { 'tenants', unpack(tenants) } end
    redis.call('DEL', clock_key(line, priority))
  end
end
for _, name in ipairs({
  'policy', 'outcomes', 'feedback', 'workers', 'broken', 'erasures', 'totals', 'pace', 'work', 'streaks', 'canary', 'golden',
  'looks', 'fallback', 'outbox', 'yielding', 'delayed', 'deadlines',
}) do
  redis.call('DEL', P .. ':' .. name)
end
redis.call('SET', P .. ':closed', code, 'PX', ARGV[2])
return { 'swept' }
