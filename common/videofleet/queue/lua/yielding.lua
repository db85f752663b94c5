-- Running batch jobs that make room for interactive ones when no worker is free. yielding: id → since when, in ms.
local YIELDING = P .. ':yielding'

local PATIENCE_MS = 5000 -- of an interactive job; a free worker takes it sooner
local RUN_LEAST_MS = 60000 -- before a job is interrupted, so that it gets on between two interruptions
local LAST_SHARE = 0.2 -- of its steps are not interrupted any more
local YIELDS_MOST = 3 -- times a job

-- Whether a job that denoises is worth less than the wait of somebody who looks at the screen. As many are asked as
-- interactive jobs wait, and whoever was asked stays so until its attempt ends.
local function should_yield(id, progress)
  local priority, revision, started_at_ms, queued_at_ms, yields =
    fields(id, 'priority', 'revision', 'started_at_ms', 'queued_at_ms', 'yields')
  if priority ~= 'batch' then return false end
  if redis.call('ZSCORE', YIELDING, id) then return true end
  local rules, told, now = policy(), cjson.decode(progress), now_ms()
  local line = rules and line_of(revision, rules)
  if not line or told.stage ~= 'denoising' or told.step > (1 - LAST_SHARE) * told.steps then return false end
  if now - started_at_ms < RUN_LEAST_MS or tonumber(yields or 0) >= YIELDS_MOST then return false end
  local most_wait_ms = (rules.batchMaxWaitS or 3600) * 1000 -- then a batch job goes before all others
  if now - queued_at_ms > most_wait_ms or oldest_ms(line, 'batch') > most_wait_ms then return false end
  local tenant = first_free(first_key(line, 'interactive'))
  if not tenant or waited_ms(next_of(line, 'interactive', tenant)) < PATIENCE_MS then return false end
  if redis.call('ZCARD', YIELDING) >= in_line(line, 'interactive') then return false end
  redis.call('ZADD', YIELDING, now, id)
  redis.call('HINCRBY', job_key(id), 'yields', 1)
  return true
end
