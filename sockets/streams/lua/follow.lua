-- `look.lua` for a session: the record is made if need be, and lasts. Behind record.lua.
--
-- ARGV: as of look.lua
-- Returns  how the entry at the head begins, or "": not known, or no entries were asked for; and what
--          look.lua returns
open()
trim()
keep()
local start, limit = '', tonumber(ARGV[12])
if limit > 0 then
  local newest = redis.call('ZRANGE', STREAM, -1, -1, 'WITHSCORES')
  if tonumber(newest[2]) == record.offset then start = string.sub(newest[1], 1, 64) end
end
return { start, page(ARGV[10], ARGV[11], limit, tonumber(ARGV[13])) }
