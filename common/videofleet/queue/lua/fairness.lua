-- Who is next inside a priority of a line: start-time fair queueing between tenants, counted in service seconds.
-- served:<line>:<priority>  tenant → seconds it was given, over its weight
-- turn:<line>:<priority>    the same, of those who wait
-- clock:<line>:<priority>   what the last one to be served had had

local function served_key(line, priority) return P .. ':served:' .. line .. ':' .. priority end

local function turn_key(line, priority) return P .. ':turn:' .. line .. ':' .. priority end

local function clock_key(line, priority) return P .. ':clock:' .. line .. ':' .. priority end

-- The tenant begins to wait. Having been away earns no credit: it starts level with the one who is next.
local function join_turn(line, priority, tenant)
  local turns = turn_key(line, priority)
  if redis.call('ZSCORE', turns, tenant) then return end
  local first = redis.call('ZRANGE', turns, 0, 0, 'WITHSCORES')
  local clock_s = tonumber(first[2] or redis.call('GET', clock_key(line, priority)) or 0)
  local served_s = math.max(clock_s, tonumber(redis.call('ZSCORE', served_key(line, priority), tenant) or 0))
  redis.call('ZADD', served_key(line, priority), served_s, tenant)
  redis.call('ZADD', turns, served_s, tenant)
end

local function next_tenant(line, priority)
  local first = redis.call('ZRANGE', turn_key(line, priority), 0, 0, 'WITHSCORES')
  if first[1] then redis.call('SET', clock_key(line, priority), first[2]) end
  return first[1]
end

local function charge(id, seconds, rules)
  local tenant, line, priority = fields(id, 'tenant', 'line', 'priority')
  local weight = rules and rules.weights and rules.weights[tenant] or 1
  local served_s = redis.call('ZINCRBY', served_key(line, priority), seconds / weight, tenant)
  redis.call('ZADD', turn_key(line, priority), 'XX', served_s, tenant)
end

-- At the claim: what the job will probably take.
local function charge_ahead(id, rules)
  local tier, cost = made_in(id)
  local seconds = expected_s(tier, cost)
  redis.call('HSET', job_key(id), 'charged_s', seconds)
  charge(id, seconds, rules)
end

-- At the end of the attempt: what it did take; jobs of one batch share the time. A success teaches the tier's pace.
-- → those seconds, or nil when there was no attempt
local function settle_charge(id, state)
  local charged_s, started_at_ms, batch = fields(id, 'charged_s', 'started_at_ms', 'batch')
  if not charged_s then return nil end
  local used_s = math.max(0, now_ms() - started_at_ms) / 1000 / batch
  redis.call('HDEL', job_key(id), 'charged_s')
  charge(id, used_s - charged_s, policy())
  if state == 'succeeded' then
    local tier, cost = made_in(id)
    learn_pace(tier, cost, used_s)
  end
  return used_s
end
