-- Put in front of every script, and guard_end.lua behind it: an error says whether the script had
-- written something by then. READS is all that surely writes nothing.
local wrote = false
local READS = {
  EXISTS = 1, GET = 1, HEXISTS = 1, HGET = 1, HGETALL = 1, HKEYS = 1, HLEN = 1, HMGET = 1, INFO = 1,
  LINDEX = 1, LLEN = 1, LRANGE = 1, PTTL = 1, SCARD = 1, SISMEMBER = 1, SMEMBERS = 1, TIME = 1,
  TTL = 1, TYPE = 1, ZCARD = 1, ZCOUNT = 1, ZRANGE = 1, ZRANGEBYSCORE = 1, ZREVRANGEBYSCORE = 1, ZSCORE = 1,
}
local redis = setmetatable({
  call = function(name, ...)
    local reply = redis.call(name, ...)
    if not READS[name] then wrote = true end
    return reply
  end,
}, { __index = redis })
local ok, answer = pcall(function()
