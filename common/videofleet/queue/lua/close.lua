-- The fleet ends: waiting jobs are cancelled, running ones see it at their next beat. ARGV: code, a tombstone's life in ms
-- → ids cancelled now. A fleet without a policy was swept or never published: it gets the tombstone at once.
if is_void() then
  redis.call('SET', P .. ':closed', ARGV[1], 'PX', ARGV[2], 'NX')
  return {}
end
redis.call('SET', P .. ':closed', ARGV[1], 'NX')
redis.call('HSETNX', TOTALS, 'closed_at_ms', now_ms())
local code = closed()
local waiting = queued_ids()
for _, id in ipairs(waiting) do finish_cancelled(read(id), code) end
return waiting
