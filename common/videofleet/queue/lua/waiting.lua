-- Where queued jobs are. A job is in all of waiting:<priority> and lane:<priority>:<tenant>, both by `seq`, or in
-- `delayed`, by the time its next attempt may begin. `deadlines` has those that must have begun by then.
local DELAYED, DEADLINES = P .. ':delayed', P .. ':deadlines'

local function waiting_key(priority) return P .. ':waiting:' .. priority end

local function lane_key(priority, tenant) return P .. ':lane:' .. priority .. ':' .. tenant end

local function depth()
  local count = redis.call('ZCARD', DELAYED)
  for _, priority in ipairs(PRIORITIES) do count = count + redis.call('ZCARD', waiting_key(priority)) end
  return count
end

-- Into the line, where its `seq` says: a job that comes back has waited already.
local function enter(id)
  local tenant, priority, seq, deadline_ms = fields(id, 'tenant', 'priority', 'seq', 'deadline_ms')
  join_turn(priority, tenant)
  redis.call('ZREM', DELAYED, id)
  redis.call('ZADD', waiting_key(priority), seq, id)
  redis.call('ZADD', lane_key(priority, tenant), seq, id)
  if deadline_ms then redis.call('ZADD', DEADLINES, deadline_ms, id) end
end

local function leave(id)
  local tenant, priority = fields(id, 'tenant', 'priority')
  redis.call('ZREM', DELAYED, id)
  redis.call('ZREM', DEADLINES, id)
  redis.call('ZREM', waiting_key(priority), id)
  redis.call('ZREM', lane_key(priority, tenant), id)
  if redis.call('EXISTS', lane_key(priority, tenant)) == 0 then redis.call('ZREM', turn_key(priority), tenant) end
end

local function delay(id, ms)
  redis.call('ZADD', DELAYED, int(now_ms() + ms), id)
  local deadline_ms = field(id, 'deadline_ms')
  if deadline_ms then redis.call('ZADD', DEADLINES, deadline_ms, id) end
end

local function queued_ids()
  local ids = redis.call('ZRANGE', DELAYED, 0, -1)
  for _, priority in ipairs(PRIORITIES) do
    for _, id in ipairs(redis.call('ZRANGE', waiting_key(priority), 0, -1)) do ids[#ids + 1] = id end
  end
  return ids
end

-- How long the first of a priority has waited, in ms; 0 when nobody waits.
local function oldest_ms(priority)
  local first = redis.call('ZRANGE', waiting_key(priority), 0, 0)[1]
  return first and math.max(0, now_ms() - (field(first, 'queued_at_ms') or 0)) or 0
end

-- The job that is to run next, or nil: batch that waited too long, then by priority, then by tenants' turns.
local function next_waiting(rules)
  if oldest_ms('batch') > (rules.batchMaxWaitS or 3600) * 1000 then
    return redis.call('ZRANGE', waiting_key('batch'), 0, 0)[1]
  end
  for _, priority in ipairs(PRIORITIES) do
    local tenant = next_tenant(priority)
    if tenant then return redis.call('ZRANGE', lane_key(priority, tenant), 0, 0)[1] end
  end
end
