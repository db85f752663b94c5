-- How much work there is, in service seconds: what tiers take, and what waits.
-- pace  `<tier>/<cost>` → seconds a job takes     work  `<priority>|<tier>/<cost>` → queued jobs     arrived  seconds ever
local SECONDS_PER_COST = 2e-7 -- of a pixel × frame × step, until the first job of its tier has told
local PACE, WORK, ARRIVED = P .. ':pace', P .. ':work', P .. ':arrived'

local function expected_s(tier, cost)
  return tonumber(redis.call('HGET', PACE, tier .. '/' .. cost)) or cost * SECONDS_PER_COST
end

local function learn_pace(tier, cost, used_s)
  local pace_s = tonumber(redis.call('HGET', PACE, tier .. '/' .. cost)) or used_s
  redis.call('HSET', PACE, tier .. '/' .. cost, pace_s + (used_s - pace_s) / 8)
end

-- A hash for one number: INCRBYFLOAT grows its arguments, which Redis before 7.0.8 on libc's malloc goes on to use beyond
-- their end (redis/redis#11652): seen to crash 6.2.14 within a few calls.
local function note_arrival(tier, cost) redis.call('HINCRBYFLOAT', ARRIVED, 'seconds', expected_s(tier, cost)) end

local function spelled(tier)
  local shape = tier.width .. 'x' .. tier.height .. 'x' .. tier.numFrames .. 'x' .. tier.numInferenceSteps
  return tier.name, int(tier.width * tier.height * tier.numFrames * tier.numInferenceSteps), shape .. '@' .. tier.fps
end

-- The tier that the job is made in: name, cost and shape.
local function made_in(id)
  local lowered, tier, cost, shape = fields(id, 'lowered', 'tier', 'cost', 'shape')
  if lowered then return spelled(cjson.decode(lowered)) end
  return tier, cost, shape
end

-- What a tenant has: records by state; ahead_s, expected seconds of its unfinished jobs; worker_s, seconds ever used;
-- day_s, those of attempts that ended on `day`, days since the epoch.
local function usage_key(tenant) return P .. ':usage:' .. tenant end

local function is_unfinished(state) return state == 'queued' or state == 'running' end

-- Every change of a job's state goes through here.
local function move(id, to)
  local from, tenant, priority, tier, cost, ahead_s = fields(id, 'state', 'tenant', 'priority', 'tier', 'cost', 'ahead_s')
  local kind, usage = priority .. '|' .. tier .. '/' .. cost, usage_key(tenant)
  local is_work = redis.call('HEXISTS', job_key(id), 'golden') == 0
  if is_work and from == 'queued' and redis.call('HINCRBY', WORK, kind, -1) == 0 then redis.call('HDEL', WORK, kind) end
  if is_work and to == 'queued' then redis.call('HINCRBY', WORK, kind, 1) end
  if from then redis.call('HINCRBY', usage, from, -1) end
  redis.call('HINCRBY', usage, to, 1)
  if is_unfinished(to) and not is_unfinished(from) then
    ahead_s = expected_s(tier, cost)
    redis.call('HSET', job_key(id), 'ahead_s', ahead_s)
    redis.call('HINCRBYFLOAT', usage, 'ahead_s', ahead_s)
  elseif is_unfinished(from) and not is_unfinished(to) then
    redis.call('HINCRBYFLOAT', usage, 'ahead_s', -ahead_s)
  end
  redis.call('HSET', job_key(id), 'state', to)
end

local function note_use(tenant, seconds)
  local usage, today = usage_key(tenant), int(now_ms() / DAY_MS)
  redis.call('HINCRBYFLOAT', usage, 'worker_s', seconds)
  if redis.call('HGET', usage, 'day') ~= today then redis.call('HSET', usage, 'day', today, 'day_s', 0) end
  redis.call('HINCRBYFLOAT', usage, 'day_s', seconds)
end
