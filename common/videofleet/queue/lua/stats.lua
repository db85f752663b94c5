-- → {waiting, running, oldest wait in ms}
local first = redis.call('ZRANGE', WAITING, 0, 0)[1]
local oldest_ms = first and math.max(0, now_ms() - tonumber(field(first, 'queued_at_ms'))) or 0
return { redis.call('ZCARD', WAITING), redis.call('ZCARD', RUNNING), oldest_ms }
