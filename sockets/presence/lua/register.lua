-- Begin a lease, and take over the client id. Behind user.lua.
--
-- ARGV  3 session   4 client id   5 its info, as JSON
-- Returns  session and info of the live one that was replaced, or nothing
purge()
local replaced = {}
local other = rival(ARGV[3], ARGV[4])
if other then
  replaced = { other, redis.call('HGET', INFO, other) or '' }
  forget(other)
end
lease(ARGV[3], ARGV[4], ARGV[5])
keep()
return replaced
