-- queued → succeeded without a worker: an earlier video serves again. ARGV: id, result, what is owed for the copy
-- → state, or nil when there is no such job. Its copy is owed no more once the job has it.
local id, result, owed = unpack(ARGV)
local job = read(id)
if not job then return nil end
if job.state ~= 'queued' then return job.state end
put(job, 'result', result)
put(job, 'cached', 1)
redis.call('ZREM', LEAVING, owed)
redis.call('HINCRBY', TOTALS, 'arrived_ms', 0 - job.ahead_ms) -- it is no work for anybody
return finish(job, 'succeeded')
