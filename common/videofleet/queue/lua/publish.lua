-- Replaces the fleet's policy, unless a later leader has published one. ARGV: policy, its epoch → the epoch in force
local known = policy()
local epoch = known and tonumber(known.epoch) or 0
if epoch > tonumber(ARGV[2]) then return epoch end
redis.call('SET', P .. ':policy', ARGV[1])
change_canary(cjson.decode(ARGV[1]))
return tonumber(ARGV[2])
