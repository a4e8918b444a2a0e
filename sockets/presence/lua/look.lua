-- Presence of a user. It writes nothing: a reader may be a replica. Runs without user.lua.
--
-- KEYS  1 sessions   2 info   3 state
-- ARGV  1 now, seconds ("": this server's clock)
-- Returns  state or '', seconds of grace left, last seen or '', session, end of its lease, info, …
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
local state = redis.call('HMGET', KEYS[3], 'state', 'grace_end', 'last_seen')
local grace = state[2] and string.format('%.6f', tonumber(state[2]) - now) or '0'
local found = { state[1] or '', grace, state[3] or '' }
local live = redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.6f', now), '+inf', 'WITHSCORES')
for i = 1, #live, 2 do
  local info = redis.call('HGET', KEYS[2], live[i])
  if info then
    found[#found + 1], found[#found + 2], found[#found + 3] = live[i], live[i + 1], info
  end
end
return found
