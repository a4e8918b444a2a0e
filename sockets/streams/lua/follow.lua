-- `look.lua` for a session: the record is made if need be, and lasts. Put after record.lua and page.lua.
--
-- ARGV, Returns: as of look.lua
open()
trim()
keep()
return page(ARGV[11], ARGV[12], tonumber(ARGV[13]), tonumber(ARGV[14]))
