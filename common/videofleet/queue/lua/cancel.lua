-- queued → cancelled; running: a flag that beat and commit see. ARGV: id, code → 1, or 0 when there is no such job
local id, code = unpack(ARGV)
go_on_when_full()
local state = field(id, 'state')
if not state then return 0 end
if state == 'queued' then
  finish_cancelled(id, code)
elseif state == 'running' then
  redis.call('HSETNX', job_key(id), 'cancel_code', code)
end
return 1
