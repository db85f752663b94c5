-- What webhooks are to be told. `outbox`: job id → when the next delivery is due, in ms. The notice itself lies in the
-- job's hash: `notice` (how many ends it has had: a replayed job may have two), `notice_state`, `notice_attempts`, and
-- `notice_token` while somebody delivers it. A job that was removed or runs again has nothing to tell.
local OUTBOX = P .. ':outbox'

-- In the very script that ends the job, so that no notice is lost.
local function notify(job)
  if not job.webhook then return end
  put(job, 'notice', (job.notice or 0) + 1)
  put(job, 'notice_state', 'pending')
  put(job, 'notice_attempts', 0)
  drop(job, 'notice_token')
  redis.call('ZADD', OUTBOX, now_ms(), job.id)
end

-- Set once the URL has answered 410 to this tenant.
local function disabled_key(tenant, url) return P .. ':webhook_gone:' .. tenant .. ':' .. redis.sha1hex(url) end
