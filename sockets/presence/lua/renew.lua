-- Extend leases; one that ran out begins anew, unless its client id has another. Behind user.lua.
--
-- ARGV  3, 4, 5 session, client id, info; 6, 7, 8 of the next one, and so on
-- Returns  the sessions that were replaced
purge()
local fenced = {}
for i = 3, #ARGV, 3 do
  if rival(ARGV[i], ARGV[i + 1]) then
    fenced[#fenced + 1] = ARGV[i]
  else
    lease(ARGV[i], ARGV[i + 1], ARGV[i + 2])
  end
end
keep()
return fenced
