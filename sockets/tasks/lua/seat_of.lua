-- ARGV  8 worker
sweep_seats()
return redis.call('HGET', WORKERS, ARGV[8])
