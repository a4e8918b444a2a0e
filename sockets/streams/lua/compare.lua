-- Which of many users' streams are not as the caller knows them: follow.lua opens those. Writes
-- nothing. All keys are on one server.
--
-- KEYS  of each user: meta; as of record.lua
-- ARGV  1 now, seconds ("": this server's clock)
--       2 "1": a server with another run id has forgotten something
--       3 seconds within which the use of a record need not be noted again
--       and of each user: epoch, head, how the message there begins ("": not known)
-- Returns  those users (0 is the first)
local time = ARGV[1] == '' and redis.call('TIME')
local now = time and time[1] + time[2] / 1000000 or tonumber(ARGV[1])
local run = ARGV[2] == '1' and string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
local fresh = tonumber(ARGV[3])
local changed = {}
for user = 1, #KEYS do
  local epoch, head, start = unpack(ARGV, 3 * user + 1, 3 * user + 3)
  local found = redis.call('HMGET', KEYS[user], 'epoch', 'offset', 'run', 'used', 'last', 'asked')
  local used = tonumber(found[4])
  local same = found[1] == epoch and found[2] == head and found[3] == run
    and used and now - used < fresh and found[4] ~= found[6]
    and (start == '' or found[5] == head .. ' ' .. start)
  if not same then changed[#changed + 1] = user - 1 end
end
return changed
