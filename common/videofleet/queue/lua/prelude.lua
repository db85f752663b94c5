-- Shared by every script: names, time, rules. KEYS[1] is the fleet's prefix, `vf:{installation/uid}`; every key of a
-- script lies under it, in one cluster slot. Time is Redis' own. Runs on Redis 6.2 and later. A script is sent with
-- those blocks of the shared files that it needs; a blank line ends a block, so no function has one.
local P = KEYS[1]

local RUNNING = P .. ':running' -- id → end of its lease, in ms

local FINISHED = P .. ':finished' -- id → its end, in ms

local PRIORITIES = { 'interactive', 'standard', 'batch' }

local DAY_MS = 86400000

local PAGE = 100 -- most that one script sweeps, so that none holds up Redis

local at_ms
local function now_ms()
  if not at_ms then
    local time = redis.call('TIME')
    at_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  return at_ms
end

local function int(number) return string.format('%d', number) end -- tostring would write 1.7e+12

local function job_key(id) return P .. ':job:' .. id end

local function field(id, name) return redis.call('HGET', job_key(id), name) end

local function fields(id, ...) return unpack(redis.call('HMGET', job_key(id), ...)) end

-- A full Redis refuses the first write of a script if it is one that may grow, and asks no more after that. Scripts that
-- finish work begin with one that cannot, so that jobs are claimed and end, and their records can be removed.
local function go_on_when_full() redis.call('DEL', P .. ':nothing') end

local function due(key) return redis.call('ZRANGEBYSCORE', key, '-inf', now_ms(), 'LIMIT', 0, PAGE) end

local read_policy
local function policy()
  if read_policy == nil then
    local raw = redis.call('GET', P .. ':policy')
    read_policy = raw and cjson.decode(raw)
  end
  return read_policy
end

-- Whether nobody has renewed the policy: then marks and fallback are void and nothing goes to a canary.
local function has_lapsed(rules) return rules.validUntilMs ~= nil and rules.validUntilMs <= now_ms() end

local function closed() return redis.call('GET', P .. ':closed') end

-- Whether the fleet was swept, or never published: then nobody keeps anything under its prefix.
local function is_void() return redis.call('EXISTS', P .. ':policy') == 0 end
