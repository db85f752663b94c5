-- (new) → offered. ARGV: id, revision, order. Offered twice, it is one.
local id, revision, order = unpack(ARGV)
go_on_when_full()
if redis.call('HSETNX', order_key(id), 'order', order) == 1 then redis.call('ZADD', decodes(revision), now_ms(), id) end
redis.call('PEXPIRE', order_key(id), OWNER_MS)
return 1
