-- running → queued | failed | dead | cancelled. ARGV: id, token, code, message, 'retry' or 'final', first delay in ms,
-- 'fault' or 'rejected' → state | 'lost'. Each retry waits four times as long as the one before.
local id, token, code, message, again, first_ms, fault = unpack(ARGV)
local answer = not_held(id, token)
if answer then return answer end
if again == 'retry' then
  return retry_or_bury(id, message, fault, first_ms * 4 ^ math.min(field(id, 'spent') - 1, 3))
end
count_attempt(id, fault)
local stop = stop_code(id)
if stop then return finish_cancelled(id, stop) end
return finish(id, 'failed', code, message)
