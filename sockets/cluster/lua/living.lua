-- The nodes that live. Runs after registry.lua.
--
-- Returns  life, end of its lease, info, …
local found = {}
local live = redis.call('ZRANGEBYSCORE', NODES, '(' .. text(now), '+inf', 'WITHSCORES')
for i = 1, #live, 2 do
  local info = redis.call('HGET', INFO, live[i])
  if info then
    found[#found + 1], found[#found + 2], found[#found + 3] = live[i], live[i + 1], info
  end
end
return found
