-- running → dead: the worker cannot read the job. ARGV: id, token, message → state | 'lost'
local job = read(ARGV[1])
return not_held(job, ARGV[2]) or finish(job, 'dead', 'payload_unknown', ARGV[3])
