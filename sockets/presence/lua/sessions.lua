-- The live sessions. Behind user.lua, whose leases it does not touch: a reader may be a replica.
--
-- Returns  session, info, session, info …
local found = {}
local live = redis.call('ZRANGEBYSCORE', SESSIONS, string.format('(%.6f', now), '+inf')
for _, session in ipairs(live) do
  local info = redis.call('HGET', INFO, session)
  if info then found[#found + 1], found[#found + 2] = session, info end
end
return found
