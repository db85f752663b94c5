-- → `QueueStats` as JSON. Seconds are those of the tiers asked for.
local by_priority, waiting_cost_s, oldest_s, canary_waiting = {}, 0, 0, 0
for _, priority in ipairs(PRIORITIES) do
  local wait_s = math.max(oldest_ms('stable', priority), oldest_ms('canary', priority)) / 1000
  canary_waiting = canary_waiting + in_line('canary', priority)
  by_priority[priority] = { jobs = 0, costS = 0, oldestWaitS = wait_s }
  oldest_s = math.max(oldest_s, wait_s)
end
local work = redis.call('HGETALL', WORK)
for i = 1, #work, 2 do
  local priority, tier, cost = string.match(work[i], '^(%a+)|(.*)/(%d+)$')
  local row, seconds = by_priority[priority], work[i + 1] * expected_s(tier, cost)
  row.jobs, row.costS = row.jobs + work[i + 1], row.costS + seconds
  waiting_cost_s = waiting_cost_s + seconds
end
local remaining_s, running = 0, redis.call('ZRANGE', RUNNING, 0, -1)
for _, id in ipairs(running) do
  local job = read(id)
  local tier, cost = made_in(job)
  local left = 1 - (now_ms() - job.started_at_ms) / 1000 / math.max(expected_s(tier, cost), 0.001)
  remaining_s = remaining_s + math.max(0, math.min(1, left)) * expected_s(job.tier, job.cost)
end
local streaks, failing = redis.call('HGETALL', STREAKS), {}
for i = 1, #streaks, 2 do failing[streaks[i]] = tonumber(string.match(streaks[i + 1], '^%d+')) end
local trial = redis.call('HMGET', CANARY, 'revision', 'tripped')
local golden = { revision = trial[1] or nil }
for _, what in ipairs({ 'asked', 'succeeded', 'failed', 'rejected' }) do
  golden[what] = tonumber(redis.call('HGET', GOLDEN, what)) or 0
end
golden.looks = looks()
return cjson.encode({
  waiting = depth(),
  running = #running,
  oldestWaitS = oldest_s,
  waitingCostS = waiting_cost_s,
  runningRemainingS = remaining_s,
  arrivedSTotal = (redis.call('HGET', TOTALS, 'arrived_ms') or 0) / 1000,
  byPriority = by_priority,
  failing = failing,
  golden = golden,
  canaryWaiting = canary_waiting,
  canaryGivenUp = trial[2] and trial[1] or nil,
})
