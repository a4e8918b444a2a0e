-- ARGV  9 task
local ended = tonumber(get(ARGV[9], 'ended'))
if ended and ended + KEEP <= now then return false end -- it may be kept to be announced
return task(ARGV[9])
