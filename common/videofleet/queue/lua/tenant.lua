-- → {now in ms; UIDs of the fleets in which the tenant may have jobs}
return { int(now_ms()), redis.call('SMEMBERS', FLEETS) }
