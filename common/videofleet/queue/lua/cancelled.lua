-- running → cancelled, by the worker that stopped as asked. ARGV: id, token → state | 'lost'
local job = read(ARGV[1])
local answer = not_held(job, ARGV[2])
if answer then return answer end
return finish_cancelled(job, stop_code(job) or 'cancelled')
