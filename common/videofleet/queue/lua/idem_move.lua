-- KEYS[1]: the tenant's prefix. ARGV: digest, fleet it was used for, body digest, fleet it is for now or '' to forget it → 1, or
-- 0 when somebody else has moved it
local digest, used_for, body, fleet = unpack(ARGV)
local uses, ends = P .. ':idem', P .. ':idem_ends'
if redis.call('HGET', uses, digest) ~= used_for .. ' ' .. body then return 0 end
if fleet == '' then
  redis.call('HDEL', uses, digest)
  redis.call('ZREM', ends, digest)
else
  redis.call('HSET', uses, digest, fleet .. ' ' .. body)
end
return 1
