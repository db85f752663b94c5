-- running → queued without spending the attempt, at most `cap` times a job. ARGV: id, token, cap → state | 'lost'
local id, token, cap = unpack(ARGV)
local answer = not_held(id, token)
if answer then return answer end
local code = stop_code(id)
if code then return finish_cancelled(id, code) end
spare(id, tonumber(cap))
return retry_or_bury(id, 'its worker was drained or died')
