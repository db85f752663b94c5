-- Keeps a place for a submission, if the tenant's limits leave one. ARGV: job id, its seconds, when the fleets were read in
-- ms; what was read there: queued, unfinished, seconds; the limits on these, or ''; UIDs of those fleets
-- → {'ok'} | {'queued' | 'unfinished' | 'seconds', other submissions that were counted, the limit, ms until the day ends}
local id, its_s, since_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()
redis.call('HDEL', RESERVED, id) -- the caller asks again after a lost reply
local others, others_s = unseen(now, since_ms)
local names = { 'queued', 'unfinished', 'seconds' }
local more = { others + 1, others + 1, others_s + its_s }
for n, name in ipairs(names) do
  local limit = tonumber(ARGV[6 + n])
  if limit and ARGV[3 + n] + more[n] > limit then return { name, others, limit, DAY_MS - now % DAY_MS } end
end
put_reservation(id, now, UNUSED_MS, its_s, 0)
redis.call('SADD', FLEETS, unpack(ARGV, 10))
return { 'ok' }
