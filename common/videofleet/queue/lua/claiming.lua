-- What becomes of a job that a worker is about to get: its tier, and what it may share a batch with.
local FALLBACK = P .. ':fallback' -- credit, ‰ of a job

-- The tier that the rules lower the job to, or nil; and the credit when the job counts in the share. Decided at the first
-- claim and kept, so that a later attempt can go on from a checkpoint. Never above what was asked for.
local function lowered_tier(id, rules)
  local rule = rules.fallback
  if not rule or has_lapsed(rules) then return nil end
  local decided, allowed, priority, cost = fields(id, 'decided', 'allow_fallback', 'priority', 'cost')
  if decided or allowed ~= '1' then return nil end
  local is_meant = false
  for _, each in ipairs(rule.priorities) do is_meant = is_meant or each == priority end
  if not is_meant then return nil end
  for _, tier in ipairs(rules.tiers) do
    local _, lower_cost = spelled(tier)
    if tier.name == rule.tier and tonumber(lower_cost) < tonumber(cost) then
      local credit = (tonumber(redis.call('GET', FALLBACK)) or 0) + rule.sharePermille
      return credit >= 1000 and tier or nil, credit % 1000
    end
  end
end

-- What jobs of one batch have in common, the job made in `lowered` or as it stands.
local function batch_key(id, lowered)
  local _, _, shape = made_in(id)
  if lowered then _, _, shape = spelled(lowered) end
  return shape .. '|' .. field(id, 'guidance')
end

-- How many jobs there may be in the batch of `first`. One that had an attempt before is made alone: it may have a
-- checkpoint, or what ended it may be its own doing.
local function most_together(first, batches)
  if not first or field(first, 'attempt') ~= '1' then return 1 end
  local _, _, shape = made_in(first)
  return cjson.decode(batches)[string.match(shape, '^%d+x%d+x%d+')] or 1
end

-- Another job for the batch of `first`: the next in line, if it is alike. In a fleet of named tenants it is the tenant's
-- own next one: videos of two never share a batch there.
local function next_alike(line, rules, first, key)
  local tenant, priority = fields(first, 'tenant', 'priority')
  local own = rules.tenants and redis.call('ZRANGE', lane_key(line, priority, tenant), 0, 0)[1]
  local id = own or not rules.tenants and next_waiting(line, rules)
  if not id then return nil end
  local its_priority, attempt = fields(id, 'priority', 'attempt')
  if its_priority ~= priority or attempt ~= '0' then return nil end
  return batch_key(id, (lowered_tier(id, rules))) == key and id or nil
end

-- So many jobs share the time that this attempt takes.
local function share_time(id, jobs)
  if field(id, 'token') then redis.call('HSET', job_key(id), 'batch', jobs) end
end

-- queued → running
local function begin(id, rules, token, worker, revision, lease_ms)
  local tier, credit = lowered_tier(id, rules)
  if credit then redis.call('SET', FALLBACK, credit) end
  if tier then redis.call('HSET', job_key(id), 'lowered', cjson.encode(tier), 'fallback', rules.fallback.cause) end
  local now = now_ms()
  leave(id)
  move(id, 'running')
  charge_ahead(id, rules)
  redis.call('HSET', job_key(id), 'decided', 1, 'token', token, 'worker', worker, 'revision', revision,
    'started_at_ms', int(now), 'lease_until_ms', int(now + lease_ms))
  redis.call('HINCRBY', job_key(id), 'attempt', 1)
  redis.call('HINCRBY', job_key(id), 'spent', 1)
  redis.call('ZADD', RUNNING, now + lease_ms, id)
  redis.call('SET', token_key(token), id, 'PX', lease_ms)
end
