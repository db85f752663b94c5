-- running → queued without spending the attempt, at most `cap` times a job. ARGV: id, token, cap, 'fault' when that is
-- why or '' → state | 'lost'
local id, token, cap, fault = unpack(ARGV)
local answer = not_held(id, token)
if answer then return answer end
spare(id, tonumber(cap))
return retry_or_bury(id, 'its worker was drained or died', fault ~= '' and fault or nil)
