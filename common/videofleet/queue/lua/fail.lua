-- running → queued | failed | dead | cancelled. ARGV: id, token, code, message, 'retry' or 'final' → state | 'lost'
local id, token, code, message, again = unpack(ARGV)
local answer = not_held(id, token)
if answer then return answer end
if again == 'retry' then return retry_or_bury(id, message) end
local stop = stop_code(id)
if stop then return finish_cancelled(id, stop) end
return finish(id, 'failed', code, message)
