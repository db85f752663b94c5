-- Under the tenant's own prefix: where it has jobs, and which submissions are on their way.
-- fleets    UIDs     reserved  job id → `<end in ms> <seconds> <when it was queued in ms, or 0>`
local FLEETS, RESERVED = P .. ':fleets', P .. ':reserved'
local UNUSED_MS = 30000 -- a submission is over long before
local REMEMBER_MS = 10000 -- for those who had read the fleets before the job was there

local function put_reservation(id, now, lasts_ms, seconds, queued_ms)
  redis.call('HSET', RESERVED, id, int(now + lasts_ms) .. ' ' .. seconds .. ' ' .. int(queued_ms))
  redis.call('PEXPIRE', RESERVED, UNUSED_MS)
end

-- Those that a reader who began at `since_ms` cannot have seen as jobs: how many, and their seconds.
local function unseen(now, since_ms)
  local count, seconds, all = 0, 0, redis.call('HGETALL', RESERVED)
  for i = 1, #all, 2 do
    local end_ms, its_s, queued_ms = string.match(all[i + 1], '^(%d+) (%S+) (%d+)$')
    if tonumber(end_ms) <= now then
      redis.call('HDEL', RESERVED, all[i])
    elseif queued_ms == '0' or tonumber(queued_ms) >= since_ms then
      count, seconds = count + 1, seconds + its_s
    end
  end
  return count, seconds
end
