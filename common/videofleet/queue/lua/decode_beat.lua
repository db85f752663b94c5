-- taken → taken, or offered again with a lease of 0. ARGV: id, revision, token, lease in ms → 'ok' | 'lost'
local id, revision, token, lease_ms = unpack(ARGV)
go_on_when_full()
decoder_is_there(revision)
if redis.call('HGET', order_key(id), 'token') ~= token then return 'lost' end
if lease_ms == '0' then redis.call('HDEL', order_key(id), 'token') end
redis.call('ZADD', decodes(revision), now_ms() + lease_ms, id)
return 'ok'
