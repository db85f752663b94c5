-- running → succeeded, or cancelled when that was asked for first. ARGV: id, token, result, seconds per step,
-- how many clips before this one the output gate refused, GPU memory in bytes or '' → state | 'lost'
local id, token, result, step_s, refused, memory_bytes = unpack(ARGV)
local answer = not_held(id, token)
if answer then return answer end
count_attempt(id, nil)
if tonumber(refused or '0') > 0 then count(id, 'rejected') end
local code = stop_code(id)
if code then return finish_cancelled(id, code) end
redis.call('HSET', job_key(id), 'result', result)
count_pace(id, step_s)
count_memory(id, memory_bytes or '')
return finish(id, 'succeeded')
