-- Renew the sessions of many users who are as they were: renew.lua does the others. All keys
-- are on one server; what it does is what renew.lua would do, so that it may be cut off anywhere.
--
-- KEYS  of each user: sessions, info, clients, state, revoked; as of user.lua
-- ARGV  1 now, seconds ("": this server's clock)   2 seconds that a lease lasts
--       3 seconds that info outlives the last lease
--       and of each user: how many sessions; session, info; session, info; …
-- Returns  the users (0 is the first) that it leaves to renew.lua
local time = ARGV[1] == '' and redis.call('TIME')
local now = time and time[1] + time[2] / 1000000 or tonumber(ARGV[1])
local function text(seconds) return string.format('%.6f', seconds) end
local start, ends = text(now), text(now + ARGV[2])
local lease, longer = math.ceil(ARGV[2] * 1000), math.ceil((ARGV[2] + ARGV[3]) * 1000)

-- Online as last decided, and nothing that waits for its announcement.
local function is_settled(key)
  local found = redis.call('HGETALL', key)
  local online = false
  for i = 1, #found, 2 do
    if found[i] == 'state' then online = found[i + 1] == 'online' end
    if string.sub(found[i], 1, 7) == 'unsaid:' then return false end
  end
  return online
end

local left = {}
local at = 4
for user = 0, #KEYS / 5 - 1 do
  local sessions, info, clients, state, revoked = unpack(KEYS, 5 * user + 1, 5 * user + 5)
  local same = redis.call('ZCOUNT', sessions, '-inf', start) == 0
    and redis.call('EXISTS', revoked) == 0 and is_settled(state)
  local count = tonumber(ARGV[at])
  for i = at + 1, at + 2 * count, 2 do
    -- Not one that is gone meanwhile: only renew.lua knows whether it may come back.
    same = same and redis.call('ZADD', sessions, 'XX', 'CH', ends, ARGV[i]) == 1
    if same and redis.call('HGET', info, ARGV[i]) ~= ARGV[i + 1] then
      redis.call('HSET', info, ARGV[i], ARGV[i + 1]) -- it has acknowledged a message, say
    end
  end
  at = at + 1 + 2 * count
  same = same and redis.call('PEXPIRE', clients, longer) == 1
    and redis.call('PEXPIRE', info, longer) == 1 and redis.call('PEXPIRE', sessions, lease) == 1
  if not same then left[#left + 1] = user end
end
return left
