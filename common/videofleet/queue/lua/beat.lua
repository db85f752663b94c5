-- running → running. ARGV: id, token, lease in ms, progress → 'ok' | 'stop' | 'yield' | 'lost'
local id, token, lease_ms, progress = unpack(ARGV)
if field(id, 'token') ~= token then return 'lost' end
go_on_when_full()
local until_ms = now_ms() + lease_ms
redis.call('HSET', job_key(id), 'lease_until_ms', int(until_ms), 'progress', progress)
redis.call('ZADD', RUNNING, until_ms, id)
return stop_code(id) and 'stop' or should_yield(id, progress) and 'yield' or 'ok'
