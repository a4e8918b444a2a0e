-- Claim a dead life that no other node has claimed. Runs after registry.lua.
--
-- ARGV  3 seconds that the claim lasts   4 the life that asks ("": nobody's)
-- Returns  the life and its info, or nothing; nobody is dead for sure during a warm-up
if warm_left() > 0 then return {} end
-- Whoever asked before this server stood still, and is heard after that, may be as dead as others.
local asks = ARGV[4] or ''
if asks ~= '' and (tonumber(redis.call('ZSCORE', NODES, asks)) or 0) <= now then return {} end
local found = redis.call('ZRANGEBYSCORE', NODES, '-inf', text(now), 'LIMIT', 0, 1)
if #found == 0 then
  found = redis.call('ZRANGEBYSCORE', CLAIMS, '-inf', text(now), 'LIMIT', 0, 1)
end
if #found == 0 then return {} end
redis.call('ZREM', NODES, found[1])
redis.call('ZADD', CLAIMS, text(now + tonumber(ARGV[3])), found[1])
return { found[1], redis.call('HGET', INFO, found[1]) or '' }
