-- Which jobs wait for the canary, and when the data plane gives it up by itself.
-- canary  revision, whose line it is; credit, ‰ of a job; failures, in a row; tripped, 1 once those were too many
local CANARY = P .. ':canary'

local GOLDEN = P .. ':golden' -- asked: golden prompts of the canary; of these: succeeded, failed …

local LOOKS = P .. ':looks' -- `<revision>|<seed>` → ClipLook: what golden prompts became, of the canary and of earlier ones

-- The policy's canary, if there is one whose workers may claim.
local function canary_rule(rules)
  local rule = rules and rules.canary
  return rule and rules.tracks[rule.revision] == 'canary' and rule or nil
end

local function is_on_trial(revision)
  local trial = redis.call('HMGET', CANARY, 'revision', 'tripped')
  return revision and trial[1] == revision and not trial[2]
end

local function is_chosen(tenant, rule)
  return tonumber(string.sub(redis.sha1hex(rule.revision .. '|' .. tenant), 1, 8), 16) % 1000 < rule.weightPermille
end

-- The line that a new job joins. Unless tenants stick, any n admissions in a row hold n × weight ± 1 for the canary.
local function admit(tenant, rules)
  local rule = canary_rule(rules)
  if not rule or has_lapsed(rules) or not is_on_trial(rule.revision) then return 'stable' end
  if rule.stickyBy == 'tenant' then return is_chosen(tenant, rule) and 'canary' or 'stable' end
  local credit = redis.call('HINCRBY', CANARY, 'credit', rule.weightPermille)
  if credit < 1000 then return 'stable' end
  redis.call('HINCRBY', CANARY, 'credit', -1000)
  return 'canary'
end

-- The line that workers of a revision serve, or nil.
local function line_of(revision, rules)
  local track = rules.tracks[revision]
  if track ~= 'canary' then return track end
  local rule = canary_rule(rules)
  return rule and rule.revision == revision and 'canary' or nil
end

local function keep_look(job, result)
  if type(result.look) ~= 'table' then return end -- made by an earlier build
  redis.call('HSET', LOOKS, job.revision .. '|' .. int(result.seed), cjson.encode(result.look))
end

-- revision → seed → ClipLook
local function looks()
  local found, all = redis.call('HGETALL', LOOKS), {}
  for i = 1, #found, 2 do
    local revision, seed = string.match(found[i], '^(.*)|(%d+)$')
    all[revision] = all[revision] or {}
    all[revision][seed] = cjson.decode(found[i + 1])
  end
  return all
end

-- Those of revisions that no track has are of no use any more.
local function forget_looks(tracks)
  for _, field in ipairs(redis.call('HKEYS', LOOKS)) do
    if not tracks[string.match(field, '^(.*)|')] then redis.call('HDEL', LOOKS, field) end
  end
end

-- Nobody waits for the canary any more. Whoever did keeps its place.
local function dissolve_canary_line()
  for _, id in ipairs(lane_ids('canary', {})) do
    local job = read(id)
    leave(job)
    if job.golden then
      move(job, 'cancelled')
      forget(job)
    else
      put(job, 'line', 'stable')
      enter(job)
      save(job)
    end
  end
end

-- A policy came into force: another canary, or none, begins with an empty line and a clean record.
local function change_canary(rules)
  local rule = canary_rule(rules)
  local revision = rule and rule.revision or false
  if redis.call('HGET', CANARY, 'revision') == revision then return end
  dissolve_canary_line()
  redis.call('DEL', CANARY, GOLDEN)
  if revision then redis.call('HSET', CANARY, 'revision', revision) end
end

-- An attempt ended by a fault; was it one too many of the canary's?
local function judge_canary(revision)
  if not is_on_trial(revision) then return end
  local rule = canary_rule(policy())
  if not rule or redis.call('HINCRBY', CANARY, 'failures', 1) < rule.maxFailuresInRow then return end
  redis.call('HSET', CANARY, 'tripped', 1)
  dissolve_canary_line()
end
