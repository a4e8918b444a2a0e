-- ARGV  9 worker
sweep_seats()
return redis.call('HGET', WORKERS, ARGV[9])
