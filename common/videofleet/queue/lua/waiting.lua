-- Where queued jobs are. There are two lines, one for the stable track and one for the canary. A job is in
-- lane:<line>:<priority>:<tenant>, by `seq`, or in `delayed`, by the time its next attempt may begin.
-- first:<line>:<priority>  tenant → `seq` of the first of its lane     deadlines  id → when it must have begun
local DELAYED = P .. ':delayed'

local DEADLINES = P .. ':deadlines'

local LINES = { 'stable', 'canary' }

local function lane_key(line, priority, tenant) return P .. ':lane:' .. line .. ':' .. priority .. ':' .. tenant end

local function first_key(line, priority) return P .. ':first:' .. line .. ':' .. priority end

local function depth() return tonumber(redis.call('HGET', TOTALS, 'depth') or 0) end

-- Into its line, where its `seq` says: a job that comes back has waited already.
local function enter(job)
  join_turn(job)
  redis.call('ZADD', lane_key(job.line, job.priority, job.tenant), job.seq, job.id)
  redis.call('ZADD', first_key(job.line, job.priority), 'LT', job.seq, job.tenant)
  if job.deadline_ms then redis.call('ZADD', DEADLINES, job.deadline_ms, job.id) end
end

-- Out of its line, or out of those who wait for another attempt.
local function leave(job)
  local line, priority, tenant = job.line, job.priority, job.tenant
  local lane = lane_key(line, priority, tenant)
  if job.deadline_ms then redis.call('ZREM', DEADLINES, job.id) end
  if redis.call('ZREM', lane, job.id) == 0 then
    redis.call('ZREM', DELAYED, job.id)
    return
  end
  local first = redis.call('ZRANGE', lane, 0, 0, 'WITHSCORES')
  if first[1] then
    redis.call('ZADD', first_key(line, priority), first[2], tenant)
  else
    redis.call('ZREM', first_key(line, priority), tenant)
    redis.call('ZREM', turn_key(line, priority), tenant)
  end
end

local function delay(job, ms)
  redis.call('ZADD', DELAYED, now_ms() + ms, job.id)
  if job.deadline_ms then redis.call('ZADD', DEADLINES, job.deadline_ms, job.id) end
end

local function lane_ids(line, ids)
  for _, priority in ipairs(PRIORITIES) do
    for _, tenant in ipairs(redis.call('ZRANGE', turn_key(line, priority), 0, -1)) do
      for _, id in ipairs(redis.call('ZRANGE', lane_key(line, priority, tenant), 0, -1)) do ids[#ids + 1] = id end
    end
  end
  return ids
end

local function queued_ids() return lane_ids('stable', lane_ids('canary', redis.call('ZRANGE', DELAYED, 0, -1))) end

-- How many jobs stand in a priority of a line.
local function in_line(line, priority)
  local count = 0
  for _, tenant in ipairs(redis.call('ZRANGE', turn_key(line, priority), 0, -1)) do
    count = count + redis.call('ZCARD', lane_key(line, priority, tenant))
  end
  return count
end

-- The first of a tenant's lane.
local function next_of(line, priority, tenant)
  local id = redis.call('ZRANGE', lane_key(line, priority, tenant), 0, 0)[1]
  return id and read(id)
end

local function waited_ms(job) return math.max(0, now_ms() - (job.queued_at_ms or 0)) end

-- How long the first of a priority has waited, in ms; 0 when nobody waits.
local function oldest_ms(line, priority)
  local tenant = redis.call('ZRANGE', first_key(line, priority), 0, 0)[1]
  return tenant and waited_ms(next_of(line, priority, tenant)) or 0
end

-- The first tenant of a sorted set that may have one more job running, and its score. Others go past who is at its cap.
local function first_free(key)
  local n = 0
  while true do
    local found = redis.call('ZRANGE', key, n, n, 'WITHSCORES')
    if not found[1] or not is_at_cap(found[1]) then return found[1], found[2] end
    n = n + 1
  end
end

-- The job of a line that is to run next, or nil: batch that waited too long, then by priority, then by tenants' turns.
local function next_waiting(line, rules)
  local patient = first_free(first_key(line, 'batch'))
  local job = patient and next_of(line, 'batch', patient)
  if job and waited_ms(job) > (rules.batchMaxWaitS or 3600) * 1000 then return job end
  for _, priority in ipairs(PRIORITIES) do
    local tenant, served_s = first_free(turn_key(line, priority))
    if tenant then
      redis.call('SET', clock_key(line, priority), served_s)
      return next_of(line, priority, tenant)
    end
  end
end
