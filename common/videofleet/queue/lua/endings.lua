-- How attempts and jobs end, and how often each ending was.
local REASONS = {
  cancelled = 'The job was cancelled.',
  fleet_deleted = 'The VideoGenerator was deleted while the job waited; submit it to another one.',
}

-- outcomes: `<revision>|<tier>|<what>` → how often; what is a state, `steps` (jobs timed) or `step_s` (sum of their
-- seconds per step). A job that no worker had begun has no revision.
local function count(id, what, by)
  local revision, tier = fields(id, 'revision', 'tier')
  redis.call('HINCRBYFLOAT', P .. ':outcomes', (revision or '') .. '|' .. tier .. '|' .. what, by or 1)
end

local function leave_running(id, state)
  local token = field(id, 'token')
  if token then redis.call('DEL', P .. ':token:' .. token) end
  settle_charge(id, state)
  redis.call('HDEL', job_key(id), 'token', 'lease_until_ms', 'progress')
  redis.call('ZREM', RUNNING, id)
end

local function finish(id, state, code, message)
  local now = now_ms()
  leave_running(id, state)
  leave(id)
  redis.call('ZADD', FINISHED, now, id)
  redis.call('HSET', job_key(id), 'state', state, 'finished_at_ms', int(now))
  if code then redis.call('HSET', job_key(id), 'error_code', code, 'error_message', message) end
  if state == 'dead' then redis.call('ZADD', P .. ':dead:' .. field(id, 'tenant'), now, id) end
  count(id, state)
  notify(id)
  return state
end

local function finish_cancelled(id, code)
  return finish(id, 'cancelled', code, REASONS[code] or 'The job was cancelled.')
end

-- A spent attempt ended without a video. The next may begin after `delay_ms`, or at once.
local function retry_or_bury(id, message, delay_ms)
  local code = stop_code(id)
  if code then return finish_cancelled(id, code) end
  local rules = policy()
  local spent = tonumber(field(id, 'spent'))
  if rules and spent >= rules.maxAttempts then
    return finish(id, 'dead', 'attempts_exhausted', spent .. ' attempts ended without a video; the last: ' .. message)
  end
  leave_running(id, 'queued')
  redis.call('HSET', job_key(id), 'state', 'queued')
  if delay_ms and delay_ms > 0 then delay(id, delay_ms) else enter(id) end
  return 'queued'
end

-- An attempt that moved the job's checkpoint on was not in vain: it is not counted, at most `cap` times a job.
local function spare(id, cap)
  if redis.call('HINCRBY', job_key(id), 'given_back', 1) <= cap then redis.call('HINCRBY', job_key(id), 'spent', -1) end
end

-- What time alone does: leases run out, deadlines pass, delays end. → ids that were moved by the first two
local function sweep()
  local touched = due(RUNNING)
  for _, id in ipairs(touched) do
    local progress = field(id, 'progress')
    if progress and cjson.decode(progress).advanced then spare(id, 20) end
    retry_or_bury(id, 'its worker stopped renewing the lease')
  end
  for _, id in ipairs(due(DEADLINES)) do
    finish(id, 'failed', 'deadline_exceeded', 'No worker was free before the deadline.')
    touched[#touched + 1] = id
  end
  for _, id in ipairs(due(DELAYED)) do enter(id) end
  return touched
end

-- nil when the caller holds the job and so may end it now; else what to answer: the state if this very caller has ended
-- it before (its reply was lost), or `lost`. A token that the reaper took away was not ended by its owner.
local function not_held(id, token)
  local held, ended, state = fields(id, 'token', 'ended_token', 'state')
  if held == token then
    redis.call('HSET', job_key(id), 'ended_token', token)
    return nil
  end
  return ended == token and state or 'lost'
end
