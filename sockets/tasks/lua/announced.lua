-- ARGV  8 task
return redis.call('ZREM', UNSAID, ARGV[8])
