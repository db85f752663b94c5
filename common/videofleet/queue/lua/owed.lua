-- Folders whose deletion is due, a page at a time; the others of the gateway get them only after the pause.
-- ARGV: pause in ms → {owed, …}
local owed = due(LEAVING)
for _, each in ipairs(owed) do redis.call('ZADD', LEAVING, int(now_ms() + ARGV[1]), each) end
return owed
