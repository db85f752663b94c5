-- Lines that were dealt with, in the order of the file. KEYS[1]: the tenant's prefix. ARGV: id, number of the first, line, …
-- → 1, or 0 when somebody else has dealt with them, or the batch is gone
local id, first = ARGV[1], tonumber(ARGV[2])
local key = P .. ':batch:' .. id
if tonumber(redis.call('HGET', key, 'cursor') or -1) ~= first then return 0 end
for offset = 3, #ARGV do redis.call('LSET', key .. ':lines', first + offset - 3, ARGV[offset]) end
redis.call('HSET', key, 'cursor', first + #ARGV - 2)
return 1
