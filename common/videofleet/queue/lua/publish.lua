-- Replaces the fleet's policy, unless a later leader has published one. ARGV: policy, its epoch → the epoch in force, or -1
-- where a tombstone stands
local known = policy()
if not known and closed() then return -1 end
local epoch = known and tonumber(known.epoch) or 0
if epoch > tonumber(ARGV[2]) then return epoch end
local rules = cjson.decode(ARGV[1])
redis.call('SET', P .. ':policy', ARGV[1])
change_canary(rules)
for revision, track in pairs(rules.tracks) do -- what it did before it was stable is forgiven
  if track == 'stable' and not (known and known.tracks[revision] == 'stable') then redis.call('HDEL', STREAKS, revision) end
end
return tonumber(ARGV[2])
