-- How many live sessions. Behind user.lua.
return redis.call('ZCOUNT', SESSIONS, string.format('(%.6f', now), '+inf')
