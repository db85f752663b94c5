-- → {waiting, running, oldest wait in ms}
local oldest = 0
for _, priority in ipairs(PRIORITIES) do oldest = math.max(oldest, oldest_ms(priority)) end
return { depth(), redis.call('ZCARD', RUNNING), oldest }
