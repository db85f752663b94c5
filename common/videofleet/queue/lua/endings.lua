-- How attempts and jobs end, and how often each ending was.
local REASONS = {
  cancelled = 'The job was cancelled.',
  fleet_deleted = 'The VideoGenerator was deleted while the job waited; submit it to another one.',
}

-- outcomes: `<revision>|<tier>|<what>` → how often; what is a field of `Outcomes`. The tier is the one the job is made
-- in. A job that no worker had begun has no revision.
local function count(id, what, by)
  local tier = made_in(id)
  local key = (field(id, 'revision') or '') .. '|' .. tier .. '|' .. what
  redis.call('HINCRBYFLOAT', P .. ':outcomes', key, by or 1)
end

-- What a video took, of either track, while there is a canary to compare with.
local function compare(id, figure, limits, compared, above)
  local rule = canary_rule(policy())
  local limit = rule and rule[limits] and rule[limits][(made_in(id))]
  if not limit then return end
  count(id, compared)
  if figure > limit then count(id, above) end
end

local function count_pace(id, step_s)
  count(id, 'steps')
  count(id, 'step_s', step_s)
  compare(id, tonumber(step_s), 'slowAboveS', 'paced', 'slow')
end

local function count_memory(id, bytes)
  if bytes == '' then return end
  count(id, 'measured')
  count(id, 'memory_bytes', bytes)
  compare(id, tonumber(bytes), 'memoryAboveBytes', 'weighed', 'hungry')
end

-- An attempt ended in a video, or by a fault that may be the revision's: `rejected` when the output gate found it. Drains
-- and cancellations tell nothing about a revision.
local function count_attempt(id, fault)
  count(id, 'attempts')
  if fault then count(id, 'attempt_failures') end
  if fault == 'rejected' then count(id, 'rejected') end
  judge_canary(field(id, 'revision'), fault)
end

local function leave_running(id, state)
  local token = field(id, 'token')
  if token then redis.call('DEL', token_key(token)) end
  local used_s = settle_charge(id, state)
  if used_s then
    count(id, 'worker_s', used_s)
    note_use(field(id, 'tenant'), used_s)
  end
  redis.call('HDEL', job_key(id), 'token', 'lease_until_ms', 'progress', 'batch')
  redis.call('ZREM', RUNNING, id)
end

local function finish(id, state, code, message)
  local now = now_ms()
  leave_running(id, state)
  leave(id)
  redis.call('ZADD', FINISHED, now, id)
  move(id, state)
  redis.call('HSET', job_key(id), 'finished_at_ms', int(now))
  if code then redis.call('HSET', job_key(id), 'error_code', code, 'error_message', message) end
  if state == 'dead' then redis.call('ZADD', P .. ':dead:' .. field(id, 'tenant'), now, id) end
  count(id, state)
  notify(id)
  return state
end

local function finish_cancelled(id, code)
  return finish(id, 'cancelled', code, REASONS[code] or 'The job was cancelled.')
end

-- A spent attempt ended without a video. The next may begin after `delay_ms`, or at once. After a fault the job goes to
-- stable workers; otherwise the canary that had it has its checkpoint too.
local function retry_or_bury(id, message, fault, delay_ms)
  if fault then count_attempt(id, fault) end
  local code = stop_code(id)
  if code then return finish_cancelled(id, code) end
  local rules = policy()
  local spent = tonumber(field(id, 'spent'))
  if rules and spent >= rules.maxAttempts then
    return finish(id, 'dead', 'attempts_exhausted', spent .. ' attempts ended without a video; the last: ' .. message)
  end
  leave_running(id, 'queued')
  move(id, 'queued')
  if fault or not is_on_trial(field(id, 'revision')) then redis.call('HSET', job_key(id), 'line', 'stable') end
  if delay_ms and delay_ms > 0 then delay(id, delay_ms) else enter(id) end
  return 'queued'
end

-- An attempt that moved the job's checkpoint on was not in vain, or never began: it is not counted, at most `cap` times
-- a job.
local function spare(id, cap)
  if redis.call('HINCRBY', job_key(id), 'given_back', 1) <= cap then redis.call('HINCRBY', job_key(id), 'spent', -1) end
end

-- What time alone does: leases run out, deadlines pass, delays end, policies lapse. → ids that the first two moved
local function sweep(cap)
  local touched = due(RUNNING)
  for _, id in ipairs(touched) do
    local progress = field(id, 'progress')
    -- Without a single beat the worker had never heard of the job: the claim's reply was lost.
    if not progress or cjson.decode(progress).advanced then spare(id, cap) end
    retry_or_bury(id, 'its worker stopped renewing the lease', 'lost')
  end
  for _, id in ipairs(due(DEADLINES)) do
    finish(id, 'failed', 'deadline_exceeded', 'No worker was free before the deadline.')
    touched[#touched + 1] = id
  end
  for _, id in ipairs(due(DELAYED)) do enter(id) end
  local rules = policy()
  if rules and has_lapsed(rules) then dissolve_canary_line() end
  return touched
end

-- nil when the caller holds the job and so may end it now; else what to answer: the state if this very caller has ended
-- it before (its reply was lost), or `lost`. A token that the reaper took away was not ended by its owner.
local function not_held(id, token)
  local held, ended, state = fields(id, 'token', 'ended_token', 'state')
  if held == token then
    go_on_when_full()
    redis.call('HSET', job_key(id), 'ended_token', token)
    return nil
  end
  return ended == token and state or 'lost'
end
