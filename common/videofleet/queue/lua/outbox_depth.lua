-- → {notices not delivered yet, how long the first of them is overdue in ms}
local first = redis.call('ZRANGE', OUTBOX, 0, 0, 'WITHSCORES')
return { redis.call('ZCARD', OUTBOX), first[2] and int(math.max(0, now_ms() - first[2])) or 0 }
