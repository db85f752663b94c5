-- ARGV: worker, beacon. Stored as `<ms> <json>` → 1, or 0 where there is no fleet to work for.
-- broken  worker → when it was last seen warm, while it is not
if is_void() then return 0 end
local WORKERS, BROKEN = P .. ':workers', P .. ':broken'
local IS_DOWN = { loading = true, warming = true, failed = true }
local worker, beacon = ARGV[1], cjson.decode(ARGV[2])
local before, now = redis.call('HGET', WORKERS, worker), now_ms()

-- Of this very revision: its workers broke and came back, whether compute or the container had died.
local function count_recovery(took_s)
  local rule = canary_rule(policy())
  local function add(what, by) redis.call('HINCRBY', P .. ':outcomes', beacon.revision .. '||' .. what, by) end
  add('recoveries', 1)
  add('recovery_ms', in_ms(took_s))
  if not (rule and rule.recoveryAboveS) then return end
  add('timed_recoveries', 1)
  if took_s > rule.recoveryAboveS then add('slow_recoveries', 1) end
end

if before and IS_DOWN[beacon.state] then
  local at_ms, text = string.match(before, '^(%d+) (.*)$')
  if cjson.decode(text).state == 'ready' then redis.call('HSETNX', BROKEN, worker, at_ms) end
elseif beacon.state == 'ready' then
  local since_ms = redis.call('HGET', BROKEN, worker)
  if since_ms then count_recovery((now - tonumber(since_ms)) / 1000) end
  redis.call('HDEL', BROKEN, worker)
end
redis.call('HSET', WORKERS, worker, int(now) .. ' ' .. ARGV[2])
return 1
