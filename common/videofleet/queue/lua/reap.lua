-- running → queued | dead | cancelled for every lease that ran out, queued → failed for every deadline that passed → ids
return sweep()
