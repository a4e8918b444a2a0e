-- ARGV  8 task
local until_ = redis.call('ZSCORE', ENDED, ARGV[8])
if until_ and tonumber(until_) <= now then return false end
return task(ARGV[8])
