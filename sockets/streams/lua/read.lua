-- The head of a user's stream, and entries behind a position. Behind record.lua.
--
-- ARGV  7 epoch of the position, or ""   8 its offset   9 how many entries at most
-- Returns  epoch, head, floor, 1 if the entries reach to the head, entry, offset, entry, offset …
trim()
keep()
local page = { record.epoch, record.offset, record.floor, 1 }
local limit = tonumber(ARGV[9])
if limit > 0 and ARGV[7] == record.epoch then
  local found = redis.call(
    'ZRANGEBYSCORE', STREAM, '(' .. ARGV[8], '+inf', 'WITHSCORES', 'LIMIT', 0, limit + 1)
  if #found > 2 * limit then page[4] = 0 end
  for i = 1, math.min(#found, 2 * limit) do page[#page + 1] = found[i] end
end
return page
