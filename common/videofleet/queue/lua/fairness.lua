-- Who is next inside a priority of a line: start-time fair queueing between tenants, counted in service seconds.
-- served:<line>:<priority>  tenant → seconds it was given, over its weight
-- turn:<line>:<priority>    the same, of those who wait
-- clock:<line>:<priority>   what the last one to be served had had
local function served_key(line, priority) return P .. ':served:' .. line .. ':' .. priority end

local function turn_key(line, priority) return P .. ':turn:' .. line .. ':' .. priority end

local function clock_key(line, priority) return P .. ':clock:' .. line .. ':' .. priority end

-- The tenant waits. If it begins to, having been away earns no credit: it starts level with the one who is next.
local function join_turn(job)
  local line, priority, tenant = job.line, job.priority, job.tenant
  local turns = turn_key(line, priority)
  if redis.call('ZSCORE', turns, tenant) then return end
  local first = redis.call('ZRANGE', turns, 0, 0, 'WITHSCORES')
  local clock_s = tonumber(first[2] or redis.call('GET', clock_key(line, priority)) or 0)
  local served_s = math.max(clock_s, tonumber(redis.call('ZSCORE', served_key(line, priority), tenant) or 0))
  redis.call('ZADD', served_key(line, priority), served_s, tenant)
  redis.call('ZADD', turns, served_s, tenant)
end

local function charge(job, seconds)
  local served_s =
    redis.call('ZINCRBY', served_key(job.line, job.priority), seconds / (job.weight or 1), job.tenant)
  redis.call('ZADD', turn_key(job.line, job.priority), 'XX', served_s, job.tenant)
end

-- At the claim: what the job will probably take.
local function charge_ahead(job, rules)
  local tier, cost = made_in(job)
  local seconds, weight = expected_s(tier, cost), rules.weights and rules.weights[job.tenant]
  if weight then put(job, 'weight', weight) else drop(job, 'weight') end
  put(job, 'charged_s', seconds)
  charge(job, seconds)
end

-- At the end of the attempt: what it did take; jobs of one batch share the time. A success teaches the tier's pace.
-- → those seconds, or nil when there was no attempt
local function settle_charge(job, state)
  if not job.charged_s then return nil end
  local used_s = math.max(0, now_ms() - job.started_at_ms) / 1000 / job.batch
  charge(job, used_s - job.charged_s)
  drop(job, 'charged_s')
  if state == 'succeeded' then
    local tier, cost = made_in(job)
    learn_pace(tier, cost, used_s)
  end
  return used_s
end
