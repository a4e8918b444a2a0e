-- Remember a node that died. Runs after registry.lua.
--
-- ARGV  3 seconds that it is remembered   4 its info, as JSON   5 how many are
local LOST = KEYS[5]
redis.call('ZADD', LOST, text(now), ARGV[4])
redis.call('ZREMRANGEBYSCORE', LOST, '-inf', text(now - tonumber(ARGV[3])))
local more = redis.call('ZCARD', LOST) - tonumber(ARGV[5])
if more > 0 then redis.call('ZREM', LOST, unpack(redis.call('ZRANGE', LOST, 0, more - 1))) end
redis.call('EXPIRE', LOST, math.ceil(tonumber(ARGV[3])))
return 1
