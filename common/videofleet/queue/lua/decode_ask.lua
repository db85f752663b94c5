-- (new) → offered; and the owner hears how it stands, and so keeps its order. ARGV: id, revision, order
-- → { answer or '', decoders that have taken it, whether one is there }
local id, revision, order = unpack(ARGV)
go_on_when_full()
if redis.call('HSETNX', order_key(id), 'order', order) == 1 then redis.call('ZADD', decodes(revision), now_ms(), id) end
redis.call('PEXPIRE', order_key(id), OWNER_MS)
local answer, tries = unpack(redis.call('HMGET', order_key(id), 'answer', 'tries'))
return { answer or '', tonumber(tries) or 0, redis.call('EXISTS', P .. ':decoders:' .. revision) }
