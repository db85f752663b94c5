-- running → queued | dead | cancelled for every lease that ran out → ids
return reap()
