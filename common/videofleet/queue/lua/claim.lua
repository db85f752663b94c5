-- queued → running, for up to `most` jobs of one batch. ARGV: token, worker, revision, lease in ms, most, cap of give-backs
-- → {1 when the worker is marked to claim nothing, else 0; each job as `tell` has it}. A job's own token is `<token>.<n>`.
-- The same token again is the same claim: its reply was lost.
local token, worker, revision, lease_ms, most, cap = unpack(ARGV)
local known, reply = redis.call('GET', claim_key(token)), { 0 }
go_on_when_full()
if known then
  for id in string.gmatch(known, '%S+') do
    local held = field(id, 'token')
    if held and string.find(held, token .. '.', 1, true) == 1 then reply[#reply + 1] = tell(id) end
  end
  if reply[2] then return reply end
end
sweep(tonumber(cap))
local rules = policy()
if not rules then return reply end
if rules.marks and (rules.marks[worker] or 0) > now_ms() and not has_lapsed(rules) then return { 1 } end
local line = line_of(revision, rules)
if closed() or not line then return reply end
local id = next_waiting(line, rules)
local job, jobs, ids = id and read(id), {}, {}
for n = 1, most do
  if not job then break end
  begin(job, rules, token .. '.' .. n, worker, revision, lease_ms)
  jobs[n], ids[n] = job, job.id
  job = n < tonumber(most) and next_alike(jobs[1], rules)
end
if not jobs[1] then return reply end
redis.call('SET', claim_key(token), table.concat(ids, ' '), 'PX', lease_ms)
for n, each in ipairs(jobs) do
  put(each, 'batch', #jobs)
  save(each)
  reply[n + 1] = tell(each.id)
end
return reply
