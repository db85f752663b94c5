-- running → dead: the worker cannot read the job. ARGV: id, token, message → state | 'lost'
local id, token, message = unpack(ARGV)
return not_held(id, token) or finish(id, 'dead', 'payload_unknown', message)
