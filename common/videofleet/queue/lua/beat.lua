-- running → running. ARGV: id, token, lease in ms, progress → 'ok' | 'stop' | 'yield' | 'lost'
local id, token, lease_ms, progress = unpack(ARGV)
local held, cancel_code = fields(id, 'token', 'cancel_code')
if held ~= token then return 'lost' end
go_on_when_full()
redis.call('HSET', job_key(id), 'progress', progress)
redis.call('ZADD', RUNNING, now_ms() + lease_ms, id)
if cancel_code or closed() then return 'stop' end
return should_yield(id, progress) and 'yield' or 'ok'
