-- End a lease. Runs after user.lua.
--
-- ARGV  5 session   6 "<code> <reason>" for its registration, if that comes later
--       7 '1': the caller knows that the user was online
-- Returns  effects
purge()
if redis.call('ZSCORE', SESSIONS, ARGV[5]) then
  forget(ARGV[5])
else
  -- Its registration may still be on the way, on another connection: it comes too late.
  redis.call('SET', KEYS[6] .. ARGV[5], ARGV[6], 'NX', 'EX', math.ceil(LEASE))
end
left(ARGV[7] == '1')
return { effects() }
