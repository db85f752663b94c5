-- ARGV: id → about how many waiting jobs come before it, or nil when it does not stand in line.
-- Higher priorities do, one's own earlier jobs, and as many of every tenant one shares turns with.
local id = ARGV[1]
local tenant, line, priority = fields(id, 'tenant', 'line', 'priority')
local rank = tenant and redis.call('ZRANK', lane_key(line, priority, tenant), id)
if not rank then return nil end
local before = rank
for _, higher in ipairs(PRIORITIES) do
  if higher == priority then break end
  before = before + in_line(line, higher)
end
local own_turn = redis.call('ZRANK', turn_key(line, priority), tenant)
for turn, other in ipairs(redis.call('ZRANGE', turn_key(line, priority), 0, -1)) do
  if other ~= tenant then
    local turns = turn <= own_turn and rank + 1 or rank
    before = before + math.min(turns, redis.call('ZCARD', lane_key(line, priority, other)))
  end
end
return before
