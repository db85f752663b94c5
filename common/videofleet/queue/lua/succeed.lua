-- running → succeeded, or cancelled when that was asked for first. ARGV: id, token, result, seconds per step,
-- how many clips before this one the output gate refused, GPU memory in bytes or '' → state | 'lost'
local id, token, result, step_s, refused, memory_bytes = unpack(ARGV)
local job = read(id)
local answer = not_held(job, token)
if answer then return answer end
count_video(job)
if tonumber(refused or '0') > 0 then count(job, 'rejected') end
local code = stop_code(job)
if code then return finish_cancelled(job, code) end
put(job, 'result', result)
count_pace(job, step_s)
count_memory(job, memory_bytes or '')
if job.golden then keep_look(job, cjson.decode(result)) end
return finish(job, 'succeeded')
