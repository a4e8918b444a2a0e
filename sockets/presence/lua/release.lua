-- End a lease. Behind user.lua.
--
-- ARGV  3 session
purge()
forget(ARGV[3])
keep()
return 1
