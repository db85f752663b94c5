-- ARGV: fresh in ms, forget in ms → {worker's `<ms> <json>`, …} of fresh ones; old ones are forgotten
local now, fresh_ms, forget_ms, fresh = now_ms(), tonumber(ARGV[1]), tonumber(ARGV[2]), {}
local all = redis.call('HGETALL', P .. ':workers')
for i = 1, #all, 2 do
  local age_ms = now - tonumber(string.match(all[i + 1], '^%d+'))
  if age_ms <= fresh_ms then fresh[#fresh + 1] = all[i + 1]
  elseif age_ms > forget_ms then redis.call('HDEL', P .. ':workers', all[i]) end
end
local broken = redis.call('HGETALL', P .. ':broken')
for i = 1, #broken, 2 do
  if redis.call('HEXISTS', P .. ':workers', broken[i]) == 0 then redis.call('HDEL', P .. ':broken', broken[i]) end
end
return fresh
