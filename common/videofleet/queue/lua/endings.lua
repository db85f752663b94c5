-- How attempts and jobs end, and how often each ending was.
local REASONS = {
  cancelled = 'The job was cancelled.',
  fleet_deleted = 'The VideoGenerator was deleted while the job waited; submit it to another one.',
}

-- outcomes: `<revision>|<tier>|<what>` → how often; what is a field of `Outcomes`, or worker_ms, step_us, recovery_ms for its seconds:
-- sums of whole numbers are exact. The tier is the one the job is made in. A job that no worker had begun has no revision.
local function count(job, what, by)
  if job.golden then
    redis.call('HINCRBY', GOLDEN, what, by or 1)
    return
  end
  job.row = job.row or (job.revision or '') .. '|' .. made_in(job) .. '|'
  redis.call('HINCRBY', P .. ':outcomes', job.row .. what, by or 1)
end

-- What a video took, of either track, while there is a canary to compare with.
local function compare(job, figure, limits, compared, above)
  if redis.call('EXISTS', CANARY) == 0 then return end
  local rule = canary_rule(policy())
  local limit = rule and rule[limits] and rule[limits][(made_in(job))]
  if not limit then return end
  count(job, compared)
  if figure > limit then count(job, above) end
end

-- Jobs of one batch share its time, so they have a limit of their own: a canary with few jobs seldom has batches.
local function count_pace(job, step_s)
  local step_us, jobs = math.floor(step_s * 1e6 + 0.5), tonumber(job.batch or 1)
  local is_alone = jobs <= 1
  count(job, 'steps')
  count(job, 'step_us', step_us)
  if is_alone then
    count(job, 'alone')
    count(job, 'alone_us', step_us)
  else
    count(job, 'pass_us', step_us * jobs)
  end
  compare(job, tonumber(step_s), is_alone and 'slowAboveS' or 'slowTogetherAboveS', 'paced', 'slow')
end

local function count_memory(job, bytes)
  if bytes == '' then return end
  count(job, 'measured')
  count(job, 'memory_bytes', bytes)
  compare(job, tonumber(bytes), 'memoryAboveBytes', 'weighed', 'hungry')
end

-- revision → `<n> <id>`: jobs in a row whose attempts failed, and the last of them. A job that fails again and again is one.
local STREAKS = P .. ':streaks'

local function count_streak(job)
  local failing, last = string.match(redis.call('HGET', STREAKS, job.revision) or '0 ', '^(%d+) (.*)$')
  if last ~= job.id then redis.call('HSET', STREAKS, job.revision, int(failing + 1) .. ' ' .. job.id) end
end

-- An attempt ended in a video. Drains and cancellations tell nothing about a revision.
local function count_video(job)
  count(job, 'attempts')
  if job.golden then return end
  redis.call('HDEL', STREAKS, job.revision)
  if is_on_trial(job.revision) then redis.call('HDEL', CANARY, 'failures') end
end

-- An attempt ended by a fault that may be the revision's: `rejected` when the output gate found it.
local function count_fault(job, fault)
  count(job, 'attempts')
  count(job, 'attempt_failures')
  if fault == 'rejected' then count(job, 'rejected') end
  if job.golden then return end
  count_streak(job)
  judge_canary(job.revision)
end

local function leave_running(job, state)
  local used_s = settle_charge(job, state)
  if used_s then
    count(job, 'worker_ms', in_ms(used_s))
    note_use(job.tenant, used_s)
  end
  redis.call('DEL', claim_key(string.match(job.token, '^%x+')))
  drop(job, 'token', 'progress', 'batch')
  redis.call('ZREM', RUNNING, job.id)
  redis.call('ZREM', YIELDING, job.id)
end

local function finish(job, state, code, message)
  local now = now_ms()
  if job.state == 'running' then leave_running(job, state) else leave(job) end
  redis.call('ZADD', FINISHED, now, job.id)
  move(job, state)
  put(job, 'finished_at_ms', now)
  if code then
    put(job, 'error_code', code)
    put(job, 'error_message', message)
  end
  if state == 'dead' then redis.call('ZADD', P .. ':dead:' .. job.tenant, now, job.id) end
  count(job, state)
  notify(job)
  if job.golden then forget(job) else save(job) end
  return state
end

local function finish_cancelled(job, code)
  return finish(job, 'cancelled', code, REASONS[code] or 'The job was cancelled.')
end

-- A spent attempt ended without a video. The next may begin after `delay_ms`, or at once. After a fault the job goes to
-- stable workers; otherwise the canary that had it has its checkpoint too.
local function retry_or_bury(job, message, fault, delay_ms)
  if fault then count_fault(job, fault) end
  local code = stop_code(job)
  if code then return finish_cancelled(job, code) end
  if fault and job.golden then return finish(job, 'failed', 'generation_failed', message) end
  local rules, spent = policy(), tonumber(job.spent)
  if rules and spent >= rules.maxAttempts then
    return finish(job, 'dead', 'attempts_exhausted', spent .. ' attempts ended without a video; the last: ' .. message)
  end
  leave_running(job, 'queued')
  move(job, 'queued')
  if fault or not is_on_trial(job.revision) then put(job, 'line', 'stable') end
  if delay_ms and delay_ms > 0 then delay(job, delay_ms) else enter(job) end
  save(job)
  return 'queued'
end

-- An attempt that moved the job's checkpoint on was not in vain, or never began: it is not counted, at most `cap` times
-- a job.
local function spare(job, cap)
  put(job, 'given_back', (job.given_back or 0) + 1)
  if job.given_back <= cap then put(job, 'spent', job.spent - 1) end
end

-- What time alone does: leases run out, deadlines pass, delays end, policies lapse. → ids that the first two moved
local function sweep(cap)
  local touched = due(RUNNING)
  for _, id in ipairs(touched) do
    local job = read(id)
    -- Without a single beat the worker had never heard of the job: the claim's reply was lost.
    if not job.progress or cjson.decode(job.progress).advanced then spare(job, cap) end
    retry_or_bury(job, 'its worker stopped renewing the lease', 'lost')
  end
  for _, id in ipairs(due(DEADLINES)) do
    finish(read(id), 'failed', 'deadline_exceeded', 'No worker was free before the deadline.')
    touched[#touched + 1] = id
  end
  for _, id in ipairs(due(DELAYED)) do
    redis.call('ZREM', DELAYED, id)
    enter(read(id))
  end
  local rules = policy()
  if rules and has_lapsed(rules) then dissolve_canary_line() end
  return touched
end

-- nil when the caller holds the job and so may end it now; else what to answer: the state if this very caller has ended
-- it before (its reply was lost), or `lost`. A token that the reaper took away was not ended by its owner.
local function not_held(job, token)
  if not job then return 'lost' end
  if job.token == token then
    go_on_when_full()
    put(job, 'ended_token', token)
    return nil
  end
  return job.ended_token == token and job.state or 'lost'
end
