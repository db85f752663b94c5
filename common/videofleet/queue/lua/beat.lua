-- running → running. ARGV: id, token, lease in ms, progress → 'ok' | 'stop' | 'lost'
local id, token, lease_ms, progress = unpack(ARGV)
local held, cancel_code = fields(id, 'token', 'cancel_code')
if held ~= token then return 'lost' end
go_on_when_full()
redis.call('HSET', job_key(id), 'progress', progress)
redis.call('ZADD', RUNNING, now_ms() + lease_ms, id)
return (cancel_code or closed()) and 'stop' or 'ok'
