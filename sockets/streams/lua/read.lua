-- The head of a user's stream, and entries behind a position. Behind record.lua.
--
-- ARGV  7 epoch of the position, or ""   8 its offset   9 how many entries at most
--       10 how many bytes at most, behind the first entry
-- Returns  epoch, head, floor, how many entries are behind the position,
--          entry, offset, entry, offset …
trim()
keep()
local page = { record.epoch, record.offset, record.floor, 0 }
local limit, room = tonumber(ARGV[9]), tonumber(ARGV[10])
if ARGV[7] == record.epoch then
  local after = '(' .. ARGV[8]
  page[4] = redis.call('ZCOUNT', STREAM, after, '+inf')
  if limit > 0 and page[4] > 0 then
    local found = redis.call('ZRANGEBYSCORE', STREAM, after, '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
    for i = 1, #found, 2 do
      room = room - #found[i]
      if i > 1 and room < 0 then break end
      page[#page + 1], page[#page + 2] = found[i], found[i + 1]
    end
  end
end
return page
