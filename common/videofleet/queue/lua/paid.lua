-- The folder is deleted; after the first pass a second one follows. ARGV: owed, time to the second pass in ms → 1
if redis.call('ZREM', LEAVING, ARGV[1]) == 1 and string.sub(ARGV[1], 1, 2) == '1 ' then
  redis.call('ZADD', LEAVING, int(now_ms() + ARGV[2]), '2 ' .. string.sub(ARGV[1], 3))
end
return 1
