-- The claim goes on. Runs after registry.lua.
--
-- ARGV  3 seconds that it lasts   4 life
return redis.call('ZADD', CLAIMS, 'XX', text(now + tonumber(ARGV[3])), ARGV[4])
