-- queued → cancelled; running: a flag that beat and commit see. ARGV: id, code → 1, or 0 when there is no such job
local id, code = unpack(ARGV)
go_on_when_full()
local job = read(id)
if not job then return 0 end
if job.state == 'queued' then
  finish_cancelled(job, code)
elseif job.state == 'running' then
  redis.call('HSETNX', job_key(id), 'cancel_code', code)
end
return 1
