-- Put in front of look.lua and follow.lua, after record.lua.

-- The head, and entries after a position: what of them is over is passed over, not removed.
local function page(epoch, offset, limit, space)
  if not record then return { '', 0, 0, 0, '' } end
  local found = { record.epoch, record.offset, record.floor, 0, limit > 0 and newest() or '' }
  if epoch ~= record.epoch then return found end
  local gone = {}
  for _, one in ipairs(redis.call('ZRANGEBYSCORE', EXPIRING, '-inf', text(now))) do
    gone[one] = true
  end
  local count, first = redis.call('ZCARD', STREAM), 0
  for _ in pairs(gone) do count = count - 1 end
  while true do
    local oldest = redis.call('ZRANGE', STREAM, first, first, 'WITHSCORES')
    if #oldest == 0 then break end
    if not gone[oldest[2]] then
      if count <= SIZE and now - at(oldest[1]) < TTL then break end
      found[3] = math.max(found[3], tonumber(oldest[2]))
      count = count - 1
    end
    first = first + 1
  end
  local after = '(' .. math.max(found[3], tonumber(offset))
  local missing = redis.call('ZCOUNT', STREAM, after, '+inf')
  for one in pairs(gone) do
    if tonumber(one) > found[3] and tonumber(one) > tonumber(offset) then missing = missing - 1 end
  end
  found[4] = missing
  local place = 0
  while limit > 0 and #found < 5 + 2 * limit do
    local some = redis.call('ZRANGEBYSCORE', STREAM, after, '+inf', 'WITHSCORES', 'LIMIT', place, limit)
    for i = 1, #some, 2 do
      if not gone[some[i + 1]] and #found < 5 + 2 * limit then
        space = space - #some[i]
        if #found > 5 and space < 0 then return found end
        found[#found + 1], found[#found + 2] = some[i], some[i + 1]
      end
    end
    if #some < 2 * limit then break end
    place = place + limit
  end
  return found
end
