-- offered | taken | answered → (gone). ARGV: id, revision
go_on_when_full()
redis.call('ZREM', decodes(ARGV[2]), ARGV[1])
return redis.call('DEL', order_key(ARGV[1]))
