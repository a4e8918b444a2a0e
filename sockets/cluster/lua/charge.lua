-- A life is responsible for users, and its list of them lasts.
--
-- KEYS  1 the list (SET)
-- ARGV  1 seconds that it lasts; users
redis.call('SADD', KEYS[1], unpack(ARGV, 2))
redis.call('EXPIRE', KEYS[1], ARGV[1])
