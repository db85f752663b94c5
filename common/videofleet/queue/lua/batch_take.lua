-- Batches with work left. KEYS[1]: the installation's prefix. ARGV: pause in ms, most → {`<tenant> <id>`, …}, left alone for the pause
local now, pause_ms, most = now_ms(), tonumber(ARGV[1]), ARGV[2]
local due_now = redis.call('ZRANGEBYSCORE', P .. ':batches', '-inf', now, 'LIMIT', 0, most)
for _, member in ipairs(due_now) do redis.call('ZADD', P .. ':batches', int(now + pause_ms), member) end
return due_now
