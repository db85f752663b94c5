-- What somebody says of a video; saying it again replaces it. ARGV: id, rating, label or '' → 'counted' | 'missing' |
-- 'unfinished'. feedback: `<revision>|<tier as delivered>|<what>` → count; what is ratings, rating_sum,
-- liked (4 or 5), disliked (1 or 2) or label:<label>
local id, rating, label = unpack(ARGV)
local result, rated, labelled = fields(id, 'result', 'rating', 'label')
if not result then return redis.call('EXISTS', job_key(id)) == 1 and 'unfinished' or 'missing' end
result = cjson.decode(result)
local row = result.revision .. '|' .. result.tier.name .. '|'
local function add(what, by) redis.call('HINCRBY', P .. ':feedback', row .. what, by) end
local function opine(points, by)
  if tonumber(points) >= 4 then add('liked', by) elseif tonumber(points) <= 2 then add('disliked', by) end
end
if rated then
  opine(rated, -1)
  add('rating_sum', -rated)
  if labelled ~= '' then add('label:' .. labelled, -1) end
else
  add('ratings', 1)
end
opine(rating, 1)
add('rating_sum', rating)
if label ~= '' then add('label:' .. label, 1) end
redis.call('HSET', job_key(id), 'rating', rating, 'label', label)
return 'counted'
