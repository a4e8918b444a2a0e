-- Take on a dead life that nobody cares for. Behind registry.lua.
--
-- ARGV  3 seconds that the claim lasts
-- Returns  the life and its info, or nothing; nobody is dead for sure during a warm-up
if warm_left() > 0 then return {} end
local found = redis.call('ZRANGEBYSCORE', NODES, '-inf', text(now), 'LIMIT', 0, 1)
if #found == 0 then
  found = redis.call('ZRANGEBYSCORE', CLAIMS, '-inf', text(now), 'LIMIT', 0, 1)
end
if #found == 0 then return {} end
redis.call('ZREM', NODES, found[1])
redis.call('ZADD', CLAIMS, text(now + tonumber(ARGV[3])), found[1])
return { found[1], redis.call('HGET', INFO, found[1]) or '' }
