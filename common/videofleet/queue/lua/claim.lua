-- queued → running, for up to `most` jobs of one batch. ARGV: token, worker, revision, lease in ms, most, cap of give-backs,
-- {volume: most jobs of it together}, ids of the same batch that the worker has claimed before
-- → {1 when the worker is marked to claim nothing, else 0; each job as HGETALL}. A job's own token is `<token>.<n>`.
-- The same token again is the same claim: its reply was lost.
local token, worker, revision, lease_ms, most, cap, batches = unpack(ARGV)
local beside = { unpack(ARGV, 8) }
local held = {}
for n = 1, most do held[#held + 1] = redis.call('GET', token_key(token .. '.' .. n)) or nil end
go_on_when_full()
if not held[1] then
  sweep(tonumber(cap))
  local rules = policy()
  if not rules then return { 0 } end
  if rules.marks and (rules.marks[worker] or 0) > now_ms() and not has_lapsed(rules) then return { 1 } end
  local line = line_of(revision, rules)
  if closed() or not line then return { 0 } end
  local first = beside[1]
  local limit = most_together(first, batches)
  local key = limit > 1 and batch_key(first)
  while #beside + #held < limit do
    local id = first and next_alike(line, rules, first, key) or not first and next_waiting(line, rules)
    if not id then break end
    begin(id, rules, token .. '.' .. #held + 1, worker, revision, lease_ms)
    held[#held + 1] = id
    if not first then
      first, key, limit = id, batch_key(id), most_together(id, batches)
    end
  end
end
local reply = { 0 }
for _, id in ipairs(beside) do share_time(id, #beside + #held) end
for n, id in ipairs(held) do
  share_time(id, #beside + #held)
  reply[n + 1] = redis.call('HGETALL', job_key(id))
end
return reply
