-- running → queued | failed | dead | cancelled. ARGV: id, token, code, message, 'retry' or 'final', first delay in ms,
-- 'fault' or 'rejected' → state | 'lost'. Each retry waits four times as long as the one before.
local id, token, code, message, again, first_ms, fault = unpack(ARGV)
local job = read(id)
local answer = not_held(job, token)
if answer then return answer end
if again == 'retry' then return retry_or_bury(job, message, fault, first_ms * 4 ^ math.min(job.spent - 1, 3)) end
count_fault(job, fault)
local stop = stop_code(job)
if stop then return finish_cancelled(job, stop) end
return finish(job, 'failed', code, message)
