-- running → queued without spending the attempt, at most `cap` times a job. ARGV: id, token, cap, 'fault' when that is
-- why or '' → state | 'lost'
local id, token, cap, fault = unpack(ARGV)
local job = read(id)
local answer = not_held(job, token)
if answer then return answer end
spare(job, tonumber(cap))
return retry_or_bury(job, 'its worker was drained or died', fault ~= '' and fault or nil)
