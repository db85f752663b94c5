-- (new) → queued in the canary's line, once a trial: jobs of nobody that prove it before it gets any other. ARGV: revision,
-- tenant, then of each job: id, request, tier's name, cost and shape, guidance → how many were asked for, 0: not on trial
local revision, tenant = ARGV[1], ARGV[2]
if not is_on_trial(revision) or closed() then return 0 end
local asked = redis.call('HGET', GOLDEN, 'asked')
if asked then return tonumber(asked) end
for first = 3, #ARGV, 6 do
  local id, request, tier, cost, shape, guidance = unpack(ARGV, first, first + 5)
  local now, seq = int(now_ms()), redis.call('INCR', P .. ':seq')
  redis.call('HSET', job_key(id), 'id', id, 'tenant', tenant, 'request', request, 'seq', seq, 'priority', 'interactive',
    'tier', tier, 'cost', cost, 'shape', shape, 'guidance', guidance, 'allow_fallback', 0, 'line', 'canary', 'golden', 1,
    'created_at_ms', now, 'queued_at_ms', now, 'attempt', 0, 'spent', 0)
  move(id, 'queued')
  enter(id)
end
redis.call('HSET', GOLDEN, 'asked', int((#ARGV - 2) / 6))
return (#ARGV - 2) / 6
