-- Keeps what the moderation hook said of a video. ARGV: id, verdict → 1, or 0 when the record is gone
if redis.call('EXISTS', job_key(ARGV[1])) == 0 then return 0 end
redis.call('HSET', job_key(ARGV[1]), 'verdict', ARGV[2])
return 1
