-- queued → succeeded without a worker: an earlier video serves again. ARGV: id, result, what is owed for the copy
-- → state, or nil when there is no such job. Its copy is owed no more once the job has it.
local id, result, owed = unpack(ARGV)
local state = field(id, 'state')
if state ~= 'queued' then return state end
redis.call('HSET', job_key(id), 'result', result, 'cached', 1)
redis.call('ZREM', LEAVING, owed)
local tier, cost = fields(id, 'tier', 'cost')
redis.call('HINCRBYFLOAT', ARRIVED, 'seconds', -expected_s(tier, cost)) -- it is no work for anybody
return finish(id, 'succeeded')
