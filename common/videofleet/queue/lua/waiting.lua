-- Where queued jobs are. There are two lines, one for the stable track and one for the canary. A job is in all of
-- waiting:<line>:<priority> and lane:<line>:<priority>:<tenant>, both by `seq`, or in `delayed`, by the time its next
-- attempt may begin. `deadlines` has those that must have begun by then.
local DELAYED, DEADLINES = P .. ':delayed', P .. ':deadlines'
local LINES = { 'stable', 'canary' }

local function waiting_key(line, priority) return P .. ':waiting:' .. line .. ':' .. priority end

local function lane_key(line, priority, tenant) return P .. ':lane:' .. line .. ':' .. priority .. ':' .. tenant end

local function line_depth(line)
  local count = 0
  for _, priority in ipairs(PRIORITIES) do count = count + redis.call('ZCARD', waiting_key(line, priority)) end
  return count
end

local function depth() return redis.call('ZCARD', DELAYED) + line_depth('stable') + line_depth('canary') end

-- Into its line, where its `seq` says: a job that comes back has waited already.
local function enter(id)
  local tenant, line, priority, seq, deadline_ms = fields(id, 'tenant', 'line', 'priority', 'seq', 'deadline_ms')
  join_turn(line, priority, tenant)
  redis.call('ZREM', DELAYED, id)
  redis.call('ZADD', waiting_key(line, priority), seq, id)
  redis.call('ZADD', lane_key(line, priority, tenant), seq, id)
  if deadline_ms then redis.call('ZADD', DEADLINES, deadline_ms, id) end
end

local function leave(id)
  local tenant, line, priority = fields(id, 'tenant', 'line', 'priority')
  local lane = lane_key(line, priority, tenant)
  redis.call('ZREM', DELAYED, id)
  redis.call('ZREM', DEADLINES, id)
  redis.call('ZREM', waiting_key(line, priority), id)
  redis.call('ZREM', lane, id)
  if redis.call('EXISTS', lane) == 0 then redis.call('ZREM', turn_key(line, priority), tenant) end
end

local function delay(id, ms)
  redis.call('ZADD', DELAYED, int(now_ms() + ms), id)
  local deadline_ms = field(id, 'deadline_ms')
  if deadline_ms then redis.call('ZADD', DEADLINES, deadline_ms, id) end
end

local function line_ids(line, ids)
  for _, priority in ipairs(PRIORITIES) do
    for _, id in ipairs(redis.call('ZRANGE', waiting_key(line, priority), 0, -1)) do ids[#ids + 1] = id end
  end
  return ids
end

local function queued_ids() return line_ids('stable', line_ids('canary', redis.call('ZRANGE', DELAYED, 0, -1))) end

-- How long the first of a priority has waited, in ms; 0 when nobody waits.
local function oldest_ms(line, priority)
  local first = redis.call('ZRANGE', waiting_key(line, priority), 0, 0)[1]
  return first and math.max(0, now_ms() - (field(first, 'queued_at_ms') or 0)) or 0
end

-- The job of a line that is to run next, or nil: batch that waited too long, then by priority, then by tenants' turns.
local function next_waiting(line, rules)
  if oldest_ms(line, 'batch') > (rules.batchMaxWaitS or 3600) * 1000 then
    return redis.call('ZRANGE', waiting_key(line, 'batch'), 0, 0)[1]
  end
  for _, priority in ipairs(PRIORITIES) do
    local tenant = next_tenant(line, priority)
    if tenant then return redis.call('ZRANGE', lane_key(line, priority, tenant), 0, 0)[1] end
  end
end
