-- A job's record: read once into a table, changed there by whatever a script calls, and saved once. A script holds one
-- table of a job at a time. What was asked for lies beside it, in one hash of the fleet: it never changes, and without its
-- long text a record is small enough for Redis' compact form, a fifth of the memory.
local REQUESTS = P .. ':requests' -- id → the request, JSON

-- The record, or nil when there is none. `id` and `changed` are no fields.
local function read(id)
  local flat = redis.call('HGETALL', job_key(id))
  if not flat[1] then return nil end
  local job = { id = id, changed = {} }
  for n = 1, #flat, 2 do job[flat[n]] = flat[n + 1] end
  return job
end

local function put(job, name, value)
  job[name] = value
  job.changed[name] = true
end

local function drop(job, ...)
  for _, name in ipairs({ ... }) do
    if job[name] ~= nil then put(job, name, nil) end
  end
end

local function save(job)
  local set, gone = {}, {}
  for name in pairs(job.changed) do
    if job[name] == nil then
      gone[#gone + 1] = name
    else
      set[#set + 1], set[#set + 2] = name, job[name]
    end
  end
  if set[1] then redis.call('HSET', job_key(job.id), unpack(set)) end
  if gone[1] then redis.call('HDEL', job_key(job.id), unpack(gone)) end
  job.changed = {}
end

-- As Python reads it: like HGETALL, with `id` and `request`; {} when there is none.
local function tell(id)
  local flat = redis.call('HGETALL', job_key(id))
  local n = #flat
  if n == 0 then return flat end
  flat[n + 1], flat[n + 2], flat[n + 3], flat[n + 4] = 'id', id, 'request', redis.call('HGET', REQUESTS, id) or ''
  return flat
end

-- Why the job must not run any more: somebody cancelled it, or its fleet is gone.
local function stop_code(job) return job.cancel_code or closed() end
