-- The fleet ends: waiting jobs are cancelled, running ones see it at their next beat. ARGV: code → ids cancelled now
redis.call('SET', P .. ':closed', ARGV[1], 'NX')
local code = closed()
local waiting = queued_ids()
for _, id in ipairs(waiting) do finish_cancelled(read(id), code) end
return waiting
