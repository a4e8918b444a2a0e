-- How many live sessions. Runs without user.lua.
--
-- KEYS  1 sessions   ARGV  1 now, seconds ("": this server's clock)
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
return redis.call('ZCOUNT', KEYS[1], string.format('(%.6f', now), '+inf')
