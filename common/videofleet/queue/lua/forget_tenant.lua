-- What is left of a tenant that has no jobs in the fleet any more: its turns and its counters. ARGV: tenant → 1
for _, line in ipairs(LINES) do
  for _, priority in ipairs(PRIORITIES) do
    if redis.call('EXISTS', lane_key(line, priority, ARGV[1])) == 0 then
      redis.call('ZREM', served_key(line, priority), ARGV[1])
    end
  end
end
redis.call('DEL', usage_key(ARGV[1]))
return 1
