-- running → queued | dead | cancelled for every lease that ran out, queued → failed for every deadline that passed → ids
-- ARGV: cap of give-backs
go_on_when_full()
return sweep(tonumber(ARGV[1]))
