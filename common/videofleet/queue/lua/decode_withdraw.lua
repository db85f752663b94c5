-- offered | taken | answered → (gone). ARGV: id, revision
redis.call('ZREM', decodes(ARGV[2]), ARGV[1])
return redis.call('DEL', order_key(ARGV[1]))
