-- running → cancelled, by the worker that stopped as asked. ARGV: id, token → state | 'lost'
local id, token = unpack(ARGV)
local answer = not_held(id, token)
if answer then return answer end
return finish_cancelled(id, stop_code(id) or 'cancelled')
