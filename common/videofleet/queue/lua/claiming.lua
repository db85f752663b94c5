-- What becomes of a job that a worker is about to get: its tier, and what it may share a batch with.
local FALLBACK = P .. ':fallback' -- credit, ‰ of a job

-- Whether time alone has changed something. Another script sees to it: this one is called far more often, and every
-- function that a script has is made anew at every call.
local function is_anything_due(rules)
  if due(RUNNING)[1] then return true end
  if redis.call('EXISTS', DEADLINES, DELAYED) > 0 and (due(DEADLINES)[1] or due(DELAYED)[1]) then return true end
  if not rules or not has_lapsed(rules) then return false end
  for _, priority in ipairs(PRIORITIES) do
    if redis.call('EXISTS', first_key('canary', priority)) == 1 then return true end
  end
  return false
end

-- Which job of which claim: `claim:<token>` → ids, so that a claim whose reply was lost is told again.
local function claim_key(token) return P .. ':claim:' .. token end

-- The tier that the rules lower the job to, or nil; and the credit when the job counts in the share. Decided at the first
-- claim and kept, so that a later attempt can go on from a checkpoint. Never above what was asked for.
local function lowered_tier(job, rules)
  local rule = rules.fallback
  if not rule or has_lapsed(rules) then return nil end
  if job.decided or job.allow_fallback ~= '1' then return nil end
  local is_meant = false
  for _, each in ipairs(rule.priorities) do is_meant = is_meant or each == job.priority end
  if not is_meant then return nil end
  for _, tier in ipairs(rules.tiers) do
    local _, lower_cost = spelled(tier)
    if tier.name == rule.tier and tonumber(lower_cost) < tonumber(job.cost) then
      local credit = (tonumber(redis.call('GET', FALLBACK)) or 0) + rule.sharePermille
      return credit >= 1000 and tier or nil, credit % 1000
    end
  end
end

-- What jobs of one batch have in common, the job made in `lowered` or as it stands.
local function batch_key(job, lowered)
  local _, _, shape = made_in(job)
  if lowered then _, _, shape = spelled(lowered) end
  return shape .. '|' .. job.guidance
end

-- How many jobs there may be in the batch of `first`. One that had an attempt before is made alone: it may have a
-- checkpoint, or what ended it may be its own doing.
local function most_together(first, batches)
  if not first or tonumber(first.attempt) ~= 1 then return 1 end
  local _, _, shape = made_in(first)
  return cjson.decode(batches)[string.match(shape, '^%d+x%d+x%d+')] or 1
end

-- Another job for the batch of `first`: the next in line, if it is alike. In a fleet of named tenants it is the tenant's
-- own next one: videos of two never share a batch there.
local function next_alike(first, rules)
  local job
  if rules.tenants then
    if is_at_cap(first.tenant) then return nil end
    job = next_of(first.line, first.priority, first.tenant)
  else
    job = next_waiting(first.line, rules)
  end
  if not job or job.priority ~= first.priority or job.attempt ~= '0' then return nil end
  return batch_key(job, (lowered_tier(job, rules))) == batch_key(first) and job or nil
end

-- How long a job has waited for its first attempt, of either track, while a canary is on trial.
local function count_wait(job, revision)
  if job.golden or job.attempt ~= '0' or redis.call('EXISTS', CANARY) == 0 then return end
  local row = revision .. '|' .. made_in(job) .. '|'
  redis.call('HINCRBY', P .. ':outcomes', row .. 'waited', 1)
  redis.call('HINCRBY', P .. ':outcomes', row .. 'wait_ms', math.max(0, now_ms() - job.queued_at_ms))
end

-- queued → running. Its record is saved once the batch is complete.
local function begin(job, rules, token, worker, revision, lease_ms)
  local tier, credit = lowered_tier(job, rules)
  if credit then redis.call('SET', FALLBACK, credit) end
  if tier then
    put(job, 'lowered', cjson.encode(tier))
    put(job, 'fallback', rules.fallback.cause)
  end
  count_wait(job, revision)
  leave(job)
  move(job, 'running')
  charge_ahead(job, rules)
  put(job, 'decided', 1)
  put(job, 'token', token)
  put(job, 'worker', worker)
  put(job, 'revision', revision)
  put(job, 'started_at_ms', now_ms())
  put(job, 'attempt', job.attempt + 1)
  put(job, 'spent', job.spent + 1)
  redis.call('ZADD', RUNNING, now_ms() + lease_ms, job.id)
end
