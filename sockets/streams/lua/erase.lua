-- Remove a user's record and messages.
--
-- KEYS  as of record.lua
-- Returns  how many messages there were
local count = redis.call('ZCARD', KEYS[2])
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
return count
