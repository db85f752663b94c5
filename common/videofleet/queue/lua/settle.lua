-- The submission is over. ARGV: job id, 1 when the job is queued now, 0 when it is not
local id, is_queued = unpack(ARGV)
local known = redis.call('HGET', RESERVED, id)
if not known then return 0 end
local now = now_ms()
if is_queued == '1' then
  put_reservation(id, now, REMEMBER_MS, string.match(known, '^%d+ (%S+)'), now)
else
  redis.call('HDEL', RESERVED, id)
end
return 1
