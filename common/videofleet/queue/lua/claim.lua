-- queued → running, for up to `most` jobs of one batch. ARGV: token, worker, revision, lease in ms, most, cap of give-backs
-- → {1 when the worker is marked to claim nothing, else 0; each job as HGETALL}. A job's own token is `<token>.<n>`.
-- The same token again is the same claim: its reply was lost.
local token, worker, revision, lease_ms, most, cap = unpack(ARGV)
local held = {}
for n = 1, most do held[#held + 1] = redis.call('GET', token_key(token .. '.' .. n)) or nil end
go_on_when_full()
if not held[1] then
  sweep(tonumber(cap))
  local rules = policy()
  if not rules then return { 0 } end
  if rules.marks and (rules.marks[worker] or 0) > now_ms() and not has_lapsed(rules) then return { 1 } end
  local line, key = line_of(revision, rules), nil
  if closed() or not line then return { 0 } end
  for n = 1, most do
    local id = key and next_alike(line, rules, held[1], key) or not key and next_waiting(line, rules)
    if not id then break end
    begin(id, rules, token .. '.' .. n, worker, revision, lease_ms)
    key = key or batch_key(id)
    held[n] = id
  end
end
local reply = { 0 }
for n, id in ipairs(held) do
  redis.call('HSETNX', job_key(id), 'batch', #held)
  reply[n + 1] = redis.call('HGETALL', job_key(id))
end
return reply
