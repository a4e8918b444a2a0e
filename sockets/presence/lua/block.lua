-- Let no session of this user register. Runs without user.lua.
--
-- KEYS  1 block   ARGV  1 now, seconds ("": this server's clock)   2 until when ('': for ever)
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
if ARGV[2] == '' then
  redis.call('SET', KEYS[1], '1')
elseif tonumber(ARGV[2]) <= now then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], '1', 'PX', math.ceil((tonumber(ARGV[2]) - now) * 1000))
end
return 1
