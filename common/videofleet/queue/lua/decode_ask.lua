-- (new) → offered; and the owner hears how it stands, and so keeps its order. ARGV: id, revision, order
-- → { answer or '', decoders that have taken it, whether one is there }
local id, revision, order = unpack(ARGV)
go_on_when_full()
redis.call('HSETNX', order_key(id), 'order', order)
redis.call('PEXPIRE', order_key(id), OWNER_MS)
local answer, tries = unpack(redis.call('HMGET', order_key(id), 'answer', 'tries'))
if not answer then
  redis.call('ZADD', decodes(revision), 'NX', now_ms(), id)
  redis.call('PEXPIRE', decodes(revision), OWNER_MS)
end
return { answer or '', tonumber(tries) or 0, redis.call('EXISTS', P .. ':decoders:' .. revision) }
