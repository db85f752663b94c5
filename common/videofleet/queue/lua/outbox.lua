-- What webhooks are to be told. `outbox`: job id → when the next delivery is due, in ms. The notice itself lies in the
-- job's hash: `notice` (how many ends it has had: a replayed job may have two), `notice_state`, `notice_attempts`, and
-- `notice_token` while somebody delivers it. A job that was removed or runs again has nothing to tell.
local OUTBOX = P .. ':outbox'

local function subscribe(id, url)
  if url ~= '' then redis.call('HSET', job_key(id), 'webhook', url) end
end

-- In the very script that ends the job, so that no notice is lost.
local function notify(id)
  if redis.call('HEXISTS', job_key(id), 'webhook') == 0 then return end
  redis.call('HINCRBY', job_key(id), 'notice', 1)
  redis.call('HSET', job_key(id), 'notice_state', 'pending', 'notice_attempts', 0)
  redis.call('HDEL', job_key(id), 'notice_token')
  redis.call('ZADD', OUTBOX, int(now_ms()), id)
end

-- Set once the URL has answered 410 to this tenant.
local function disabled_key(tenant, url) return P .. ':webhook_gone:' .. tenant .. ':' .. redis.sha1hex(url) end
