-- A folder that goes after a while, unless a job takes it over. ARGV: owed, time until then in ms → 1, or 0 where there is
-- no fleet to owe it
if is_void() then return 0 end
redis.call('ZADD', LEAVING, int(now_ms() + ARGV[2]), ARGV[1])
return 1
