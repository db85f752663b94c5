-- Who is next inside a priority: start-time fair queueing between tenants, counted in service seconds.
-- served:<priority>  tenant → seconds it was given, over its weight     turn:<priority>  the same, of those who wait
-- clock:<priority>   what the last one to be served had had             pace             tier → seconds a job takes
local SECONDS_PER_COST = 2e-7 -- of a pixel × frame × step, until the first job of its tier has told

local function served_key(priority) return P .. ':served:' .. priority end

local function turn_key(priority) return P .. ':turn:' .. priority end

local function clock_key(priority) return P .. ':clock:' .. priority end

-- The tenant begins to wait. Having been away earns no credit: it starts level with the one who is next.
local function join_turn(priority, tenant)
  if redis.call('ZSCORE', turn_key(priority), tenant) then return end
  local first = redis.call('ZRANGE', turn_key(priority), 0, 0, 'WITHSCORES')
  local clock_s = tonumber(first[2] or redis.call('GET', clock_key(priority)) or 0)
  local served_s = math.max(clock_s, tonumber(redis.call('ZSCORE', served_key(priority), tenant) or 0))
  redis.call('ZADD', served_key(priority), served_s, tenant)
  redis.call('ZADD', turn_key(priority), served_s, tenant)
end

local function next_tenant(priority)
  local first = redis.call('ZRANGE', turn_key(priority), 0, 0, 'WITHSCORES')
  if first[1] then redis.call('SET', clock_key(priority), first[2]) end
  return first[1]
end

local function charge(id, seconds, rules)
  local tenant, priority = fields(id, 'tenant', 'priority')
  local weight = rules and rules.weights and rules.weights[tenant] or 1
  local served_s = redis.call('ZINCRBY', served_key(priority), seconds / weight, tenant)
  redis.call('ZADD', turn_key(priority), 'XX', served_s, tenant)
end

-- At the claim: what the job will probably take.
local function charge_ahead(id, rules)
  local tier, cost = fields(id, 'tier', 'cost')
  local seconds = tonumber(redis.call('HGET', P .. ':pace', tier .. '/' .. cost)) or cost * SECONDS_PER_COST
  redis.call('HSET', job_key(id), 'charged_s', seconds)
  charge(id, seconds, rules)
end

-- At the end of the attempt: what it did take. A success teaches the tier's pace.
local function settle_charge(id, state)
  local charged_s, started_at_ms, tier, cost = fields(id, 'charged_s', 'started_at_ms', 'tier', 'cost')
  if not charged_s then return end
  local used_s = math.max(0, now_ms() - started_at_ms) / 1000
  redis.call('HDEL', job_key(id), 'charged_s')
  charge(id, used_s - charged_s, policy())
  if state ~= 'succeeded' then return end
  local pace_s = tonumber(redis.call('HGET', P .. ':pace', tier .. '/' .. cost)) or used_s
  redis.call('HSET', P .. ':pace', tier .. '/' .. cost, pace_s + (used_s - pace_s) / 8)
end
