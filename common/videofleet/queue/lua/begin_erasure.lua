-- What was read of a tenant before now becomes no job here. → 1, or 0 where nothing can become one
if is_void() then return 0 end
redis.call('INCR', P .. ':erasures')
return 1
