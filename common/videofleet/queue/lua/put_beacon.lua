-- ARGV: worker, beacon. Stored as `<ms> <json>`.
redis.call('HSET', P .. ':workers', ARGV[1], int(now_ms()) .. ' ' .. ARGV[2])
return 1
