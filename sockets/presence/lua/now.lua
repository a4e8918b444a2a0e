-- What time it is. Runs without user.lua.
--
-- KEYS  1 nodes: for its slot   ARGV  1 now, seconds ("": this server's clock)
if ARGV[1] ~= '' then return ARGV[1] end
local time = redis.call('TIME')
return string.format('%.6f', time[1] + time[2] / 1000000)
