-- ARGV: tenant, idempotency digest or '' → {its jobs that wait in line, 1 when the digest named a job before, else 0}
local tenant, idem = ARGV[1], ARGV[2]
local count = 0
for _, priority in ipairs(PRIORITIES) do
  for _, line in ipairs(LINES) do count = count + redis.call('ZCARD', lane_key(line, priority, tenant)) end
end
return { count, idem ~= '' and redis.call('EXISTS', P .. ':idem:' .. tenant .. ':' .. idem) or 0 }
