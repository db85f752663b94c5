-- queued → running, for the jobs of one batch. ARGV: token, worker, revision, lease in ms, {volume: most jobs of it together},
-- ids of the same batch that the worker has claimed before
-- → {0, or 1 when the worker is marked to claim nothing, or 2 when `reap` must go first; each job as `tell` has it}. A job's
-- own token is `<token>.<n>`. The same token again is the same claim: its reply was lost.
local token, worker, revision, lease_ms, batches = unpack(ARGV)
local beside = { unpack(ARGV, 6) }
local known, reply = redis.call('GET', claim_key(token)), { 0 }
go_on_when_full()
if known then
  for id in string.gmatch(known, '%S+') do
    local held = field(id, 'token')
    if held and string.find(held, token .. '.', 1, true) == 1 then reply[#reply + 1] = tell(id) end
  end
  if reply[2] then return reply end
end
local rules = policy()
if is_anything_due(rules) then return { 2 } end
if not rules then return reply end
if rules.marks and (rules.marks[worker] or 0) > now_ms() and not has_lapsed(rules) then return { 1 } end
local line = line_of(revision, rules)
if closed() or not line then return reply end
local first, jobs, ids = beside[1] and read(beside[1]), {}, {}
local limit = most_together(first, batches)
while #beside + #jobs < limit do
  local job = first and next_alike(first, rules) or not first and next_waiting(line, rules)
  if not job then break end
  begin(job, rules, token .. '.' .. #jobs + 1, worker, revision, lease_ms)
  jobs[#jobs + 1], ids[#ids + 1] = job, job.id
  if not first then first, limit = job, most_together(job, batches) end
end
if not jobs[1] then return reply end
redis.call('SET', claim_key(token), table.concat(ids, ' '), 'PX', lease_ms)
for _, id in ipairs(beside) do
  if field(id, 'token') then redis.call('HSET', job_key(id), 'batch', #beside + #jobs) end -- they share the time
end
for n, job in ipairs(jobs) do
  put(job, 'batch', #beside + #jobs)
  save(job)
  reply[n + 1] = tell(job.id)
end
return reply
