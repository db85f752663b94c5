-- Shared by every script. KEYS[1] is the fleet's prefix, `vf:{installation/uid}`; every key of a script lies under it,
-- in one cluster slot. Time is Redis' own. Runs on Redis 6.2 and later.
local P = KEYS[1]
local WAITING, RUNNING, FINISHED = P .. ':waiting', P .. ':running', P .. ':finished'

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function int(number) return string.format('%d', number) end -- tostring would write 1.7e+12

local function job_key(id) return P .. ':job:' .. id end

local function field(id, name) return redis.call('HGET', job_key(id), name) end

local function policy()
  local raw = redis.call('GET', P .. ':policy')
  return raw and cjson.decode(raw)
end

local function closed() return redis.call('GET', P .. ':closed') end

local function leave_running(id)
  local token = field(id, 'token')
  if token then redis.call('DEL', P .. ':token:' .. token) end
  redis.call('HDEL', job_key(id), 'token', 'lease_until_ms', 'progress')
  redis.call('ZREM', RUNNING, id)
end

local function finish(id, state, code, message)
  local now = now_ms()
  leave_running(id)
  redis.call('ZREM', WAITING, id)
  redis.call('ZADD', FINISHED, now, id)
  redis.call('HSET', job_key(id), 'state', state, 'finished_at_ms', int(now))
  if code then redis.call('HSET', job_key(id), 'error_code', code, 'error_message', message) end
  return state
end

local REASONS = {
  cancelled = 'The job was cancelled.',
  fleet_deleted = 'The VideoGenerator was deleted while the job waited; submit it to another one.',
}

local function finish_cancelled(id, code)
  return finish(id, 'cancelled', code, REASONS[code] or 'The job was cancelled.')
end

-- Why the job must not run any more: somebody cancelled it, or its fleet is gone.
local function stop_code(id) return field(id, 'cancel_code') or closed() end

local function requeue(id)
  leave_running(id)
  redis.call('HSET', job_key(id), 'state', 'queued')
  redis.call('ZADD', WAITING, field(id, 'seq'), id) -- where it stood: it has waited already
  return 'queued'
end

-- A spent attempt ended without a video.
local function retry_or_bury(id, message)
  local code = stop_code(id)
  if code then return finish_cancelled(id, code) end
  local rules = policy()
  local spent = tonumber(field(id, 'spent'))
  if rules and spent >= rules.maxAttempts then
    return finish(id, 'dead', 'attempts_exhausted', spent .. ' attempts ended without a video; the last: ' .. message)
  end
  return requeue(id)
end

-- An attempt that moved the job's checkpoint on was not in vain: it is not counted, at most `cap` times a job.
local function spare(id, cap)
  if redis.call('HINCRBY', job_key(id), 'given_back', 1) <= cap then redis.call('HINCRBY', job_key(id), 'spent', -1) end
end

local function reap()
  local touched = redis.call('ZRANGEBYSCORE', RUNNING, '-inf', now_ms(), 'LIMIT', 0, 100)
  for _, id in ipairs(touched) do
    local progress = field(id, 'progress')
    if progress and cjson.decode(progress).advanced then spare(id, 20) end
    retry_or_bury(id, 'its worker stopped renewing the lease')
  end
  return touched
end

-- nil when the caller holds the job and so may end it now; else what to answer: the state if this very caller has ended
-- it before (its reply was lost), or `lost`. A token that the reaper took away was not ended by its owner.
local function not_held(id, token)
  if field(id, 'token') == token then
    redis.call('HSET', job_key(id), 'ended_token', token)
    return nil
  end
  if field(id, 'ended_token') == token then return field(id, 'state') end
  return 'lost'
end
