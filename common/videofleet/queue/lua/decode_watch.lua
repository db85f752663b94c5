-- The owner asks, and so keeps its order. ARGV: id, revision → { answer or '', tries, whether a decoder is there }
local id, revision = unpack(ARGV)
go_on_when_full()
redis.call('PEXPIRE', order_key(id), OWNER_MS)
local answer, tries = unpack(redis.call('HMGET', order_key(id), 'answer', 'tries'))
return { answer or '', tonumber(tries) or 0, any_decoder(revision) }
