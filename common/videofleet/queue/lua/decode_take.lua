-- offered → taken, the oldest first. ARGV: revision, token, lease in ms → { id, order } or nothing
local revision, token, lease_ms = unpack(ARGV)
go_on_when_full()
decoder_is_there(revision)
for _, id in ipairs(due(decodes(revision))) do
  local order = redis.call('HGET', order_key(id), 'order')
  if order then
    redis.call('HINCRBY', order_key(id), 'tries', 1)
    redis.call('HSET', order_key(id), 'token', token)
    redis.call('ZADD', decodes(revision), now_ms() + lease_ms, id)
    return { id, order }
  end
  redis.call('ZREM', decodes(revision), id)
end
return {}
