-- ARGV  8 task
local ended = tonumber(get(ARGV[8], 'ended'))
if ended and ended + KEEP <= now then return false end -- it may be kept to be announced
return task(ARGV[8])
