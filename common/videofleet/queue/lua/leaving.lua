-- Jobs that leave for good. The record goes at once, prompt and all; in the same stroke its folder is owed to the store:
-- `leaving` holds `<pass> <store> <folder>` by the time of the next deletion. Pass 2 takes what a zombie brought late.
local LEAVING = P .. ':leaving'

-- The first part of each job's folder. A request that cannot be read has the fleet's.
local function folder(id, rules)
  local readable, asked = pcall(cjson.decode, redis.call('HGET', REQUESTS, id))
  local prefix = readable and type(asked) == 'table' and asked.outputPrefix or rules and rules.outputPrefix or ''
  prefix = string.match(prefix, '^/*(.-)/*$')
  return prefix == '' and id or prefix .. '/' .. id
end

-- Of a job that nobody holds any more. → what is owed, or nil when no worker ever began it
local function forget(job)
  go_on_when_full()
  local id, tenant, owed = job.id, job.tenant, nil
  local rules = policy()
  local store = job.result and cjson.decode(job.result).store or tonumber(job.attempt) > 0 and rules and rules.store
  if store then
    owed = '1 ' .. store .. ' ' .. folder(id, rules)
    redis.call('ZADD', LEAVING, now_ms(), owed)
  end
  redis.call('ZREM', P .. ':tenant:' .. tenant, id)
  redis.call('ZREM', P .. ':dead:' .. tenant, id)
  redis.call('ZREM', FINISHED, id)
  redis.call('ZREM', OUTBOX, id)
  if job.idem then redis.call('DEL', P .. ':idem:' .. tenant .. ':' .. job.idem) end
  if job.cache then redis.call('LREM', job.cache, 0, id) end
  if redis.call('HINCRBY', usage_key(tenant), job.state, -1) < 0 then
    redis.call('HDEL', usage_key(tenant), job.state) -- the tenant was forgotten before its last record
  end
  redis.call('HDEL', REQUESTS, id)
  redis.call('DEL', job_key(id))
  return owed
end
