-- The nodes that died a while ago. Runs after registry.lua.
--
-- ARGV  3 seconds that they are remembered
-- Returns  info, when, …; the last one first
local found = redis.call('ZRANGEBYSCORE', KEYS[5], '(' .. text(now - tonumber(ARGV[3])), '+inf', 'WITHSCORES')
local newest = {}
for i = #found - 1, 1, -2 do
  newest[#newest + 1], newest[#newest + 2] = found[i], found[i + 1]
end
return newest
