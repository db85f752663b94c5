-- (new) → queued in the canary's line, once a trial: jobs of nobody that prove it before it gets any other. ARGV: revision,
-- tenant, then of each job: id, request, tier's name, cost and shape, guidance → how many were asked for, 0: not on trial
local revision, tenant = ARGV[1], ARGV[2]
if not is_on_trial(revision) or closed() then return 0 end
local asked = redis.call('HGET', GOLDEN, 'asked')
if asked then return tonumber(asked) end
forget_looks(policy().tracks)
for first = 3, #ARGV, 6 do
  local id, request, tier, cost, shape, guidance = unpack(ARGV, first, first + 5)
  local job = {
    id = id, tenant = tenant, priority = 'interactive', tier = tier, cost = cost, line = 'canary', golden = 1,
    seq = redis.call('HINCRBY', TOTALS, 'seq', 1), changed = {},
  }
  redis.call('HSET', REQUESTS, id, request)
  move(job, 'queued')
  enter(job)
  redis.call('HSET', job_key(id), 'tenant', tenant, 'priority', job.priority, 'tier', tier, 'cost', cost, 'shape', shape,
    'guidance', guidance, 'allow_fallback', 0, 'line', job.line, 'golden', 1, 'seq', job.seq, 'queued_at_ms', now_ms(),
    'attempt', 0, 'spent', 0, 'state', job.state, 'ahead_ms', job.ahead_ms)
end
redis.call('HSET', GOLDEN, 'asked', (#ARGV - 2) / 6)
return (#ARGV - 2) / 6
