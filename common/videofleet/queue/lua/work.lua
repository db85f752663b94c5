-- How much work there is, in service seconds: what tiers take, and what waits.
-- pace    `<tier>/<cost>` → seconds a job takes     work  `<priority>|<tier>/<cost>` → queued jobs
-- totals  seq: of the latest job to be queued; depth: jobs that are queued; arrived_ms: service time ever asked for;
--         closed_at_ms: when the fleet was closed
local SECONDS_PER_COST = 2e-7 -- of a pixel × frame × step, until the first job of its tier has told

local PACE = P .. ':pace'

local WORK = P .. ':work'

local TOTALS = P .. ':totals'

local function expected_s(tier, cost)
  return tonumber(redis.call('HGET', PACE, tier .. '/' .. cost)) or cost * SECONDS_PER_COST
end

local function in_ms(seconds) return math.floor(seconds * 1000 + 0.5) end

local function learn_pace(tier, cost, used_s)
  local pace_s = tonumber(redis.call('HGET', PACE, tier .. '/' .. cost)) or used_s
  redis.call('HSET', PACE, tier .. '/' .. cost, pace_s + (used_s - pace_s) / 8)
end

local function spelled(tier)
  local shape = tier.width .. 'x' .. tier.height .. 'x' .. tier.numFrames .. 'x' .. tier.numInferenceSteps
  return tier.name, int(tier.width * tier.height * tier.numFrames * tier.numInferenceSteps), shape .. '@' .. tier.fps
end

-- The tier that the job is made in: name, cost and shape.
local function made_in(job)
  if job.lowered then return spelled(cjson.decode(job.lowered)) end
  return job.tier, job.cost, job.shape
end

-- What a tenant has: records by state; ahead_ms, expected time of its unfinished jobs; worker_ms, time ever used; day_ms,
-- that of attempts that ended on `day`, days since the epoch; most_running, if it is limited. Whole milliseconds, so that
-- sums are exact.
local function usage_key(tenant) return P .. ':usage:' .. tenant end

-- Whether the tenant has as many jobs running here as it may.
local function is_at_cap(tenant)
  local most, running = unpack(redis.call('HMGET', usage_key(tenant), 'most_running', 'running'))
  return most and tonumber(running or 0) >= tonumber(most)
end

local function is_unfinished(state) return state == 'queued' or state == 'running' end

-- Into the queue, or out of it. Golden prompts wait like others, but nobody has to scale for them.
local function count_queued(job, by)
  local kind = job.priority .. '|' .. job.tier .. '/' .. job.cost
  redis.call('HINCRBY', TOTALS, 'depth', by)
  if job.golden then return end
  if redis.call('HINCRBY', WORK, kind, by) == 0 then redis.call('HDEL', WORK, kind) end
end

-- Every change of a job's state goes through here.
local function move(job, to)
  local from, usage = job.state, usage_key(job.tenant)
  if from == 'queued' then count_queued(job, -1) end
  if to == 'queued' then count_queued(job, 1) end
  if from then redis.call('HINCRBY', usage, from, -1) end
  redis.call('HINCRBY', usage, to, 1)
  if is_unfinished(to) and not is_unfinished(from) then
    local ahead_ms = in_ms(expected_s(job.tier, job.cost))
    put(job, 'ahead_ms', ahead_ms)
    redis.call('HINCRBY', usage, 'ahead_ms', ahead_ms)
    if not job.golden then redis.call('HINCRBY', TOTALS, 'arrived_ms', ahead_ms) end
  elseif is_unfinished(from) and not is_unfinished(to) then
    redis.call('HINCRBY', usage, 'ahead_ms', 0 - job.ahead_ms) -- and not the -0 of a quick tier
  end
  put(job, 'state', to)
end

local function note_use(tenant, seconds)
  local usage, today, ms = usage_key(tenant), int(now_ms() / DAY_MS), in_ms(seconds)
  redis.call('HINCRBY', usage, 'worker_ms', ms)
  if redis.call('HGET', usage, 'day') == today then
    redis.call('HINCRBY', usage, 'day_ms', ms)
  else
    redis.call('HSET', usage, 'day', today, 'day_ms', ms)
  end
end
