-- queued → running. ARGV: token, worker, revision, lease in ms → the job as HGETALL, or nil
-- The same token again is the same claim: its reply was lost.
local token, worker, revision, lease_ms = unpack(ARGV)
local before = redis.call('GET', P .. ':token:' .. token)
if before then return redis.call('HGETALL', job_key(before)) end
sweep()
local rules = policy()
if not rules or closed() or not rules.tracks[revision] then return nil end
local id = next_waiting(rules)
if not id then return nil end
local now = now_ms()
leave(id)
charge_ahead(id, rules)
redis.call('HSET', job_key(id), 'state', 'running', 'token', token, 'worker', worker, 'revision', revision,
  'started_at_ms', int(now), 'lease_until_ms', int(now + lease_ms))
redis.call('HINCRBY', job_key(id), 'attempt', 1)
redis.call('HINCRBY', job_key(id), 'spent', 1)
redis.call('ZADD', RUNNING, now + lease_ms, id)
redis.call('SET', P .. ':token:' .. token, id, 'PX', lease_ms)
return redis.call('HGETALL', job_key(id))
