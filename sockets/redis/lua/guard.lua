-- Put in front of every script, with guard_end.lua at its end: an error shows whether the script had
-- written something by then. Only the calls up to the first write are looked at: READS surely write
-- nothing.
local wrote = false
local READS = ' EXISTS GET HEXISTS HGET HGETALL HKEYS HLEN HMGET INFO LINDEX LLEN LRANGE PTTL SCARD '
  .. 'SISMEMBER SMEMBERS TIME TTL TYPE ZCARD ZCOUNT ZRANGE ZRANGEBYSCORE ZREVRANGEBYSCORE ZSCORE '
local call = redis.call
local redis = { pcall = redis.pcall, error_reply = redis.error_reply, sha1hex = redis.sha1hex }
function redis.call(name, ...)
  local reply = call(name, ...)
  if not string.find(READS, ' ' .. name .. ' ', 1, true) then
    wrote, redis.call = true, call
  end
  return reply
end
local ok, answer = pcall(function()
