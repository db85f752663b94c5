-- ARGV: id → how many waiting jobs come before it, or nil when it does not wait
return redis.call('ZRANK', WAITING, ARGV[1])
