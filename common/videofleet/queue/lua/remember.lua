-- The job may answer others that ask for the same. ARGV: id, scope, digest, most that are remembered → 1 | 0
local id, scope, digest, most = unpack(ARGV)
if redis.call('EXISTS', job_key(id)) == 0 then return 0 end
local key = P .. ':cache:' .. scope .. ':' .. digest
local latest = redis.call('LRANGE', key, 0, 0)[1]
local state = latest and latest ~= id and field(latest, 'state')
if state == 'queued' or state == 'running' then return 0 end -- it will answer; a rush of equals must not push it out
redis.call('HSET', job_key(id), 'cache', key)
redis.call('LPUSH', key, id)
redis.call('LTRIM', key, 0, most - 1)
return 1
