-- Jobs that leave for good. The record goes at once, prompt and all; in the same stroke its folder is owed to the store:
-- `leaving` holds `<pass> <store> <folder>` by the time of the next deletion. Pass 2 takes what a zombie brought late.
local LEAVING = P .. ':leaving'

-- The first part of each job's folder. A request that cannot be read has the fleet's.
local function folder(id, request, rules)
  local readable, asked = pcall(cjson.decode, request)
  local prefix = readable and type(asked) == 'table' and asked.outputPrefix or rules and rules.outputPrefix or ''
  prefix = string.match(prefix, '^/*(.-)/*$')
  return prefix == '' and id or prefix .. '/' .. id
end

-- Of a job that nobody holds any more. → what is owed, or nil when no worker ever began it
local function forget(id)
  local tenant, state, attempt, request, result, idem, cache =
    fields(id, 'tenant', 'state', 'attempt', 'request', 'result', 'idem', 'cache')
  redis.call('ZREM', P .. ':tenant:' .. tenant, id)
  redis.call('ZREM', P .. ':dead:' .. tenant, id)
  redis.call('ZREM', FINISHED, id)
  redis.call('ZREM', OUTBOX, id)
  if idem then redis.call('DEL', P .. ':idem:' .. tenant .. ':' .. idem) end
  if cache then redis.call('LREM', cache, 0, id) end
  redis.call('HINCRBY', usage_key(tenant), state, -1)
  redis.call('DEL', job_key(id))
  if not result and tonumber(attempt) == 0 then return nil end
  local rules = policy()
  local store = result and cjson.decode(result).store or rules and rules.store
  if not store then return nil end
  local owed = '1 ' .. store .. ' ' .. folder(id, request, rules)
  redis.call('ZADD', LEAVING, int(now_ms()), owed)
  return owed
end
