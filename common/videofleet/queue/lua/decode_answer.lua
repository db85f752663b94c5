-- taken → answered. ARGV: id, revision, token, answer → 'ok' | 'lost'
local id, revision, token, answer = unpack(ARGV)
if redis.call('HGET', order_key(id), 'token') ~= token then return 'lost' end
go_on_when_full()
redis.call('HSET', order_key(id), 'answer', answer)
redis.call('ZREM', decodes(revision), id)
return 'ok'
