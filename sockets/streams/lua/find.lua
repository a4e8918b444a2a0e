-- One message by its offset, by how it begins (its id) or by a member behind its body (its
-- idempotency key), from the newest on. It writes nothing. Put after record.lua.
--
-- ARGV  11 "offset", "start" or "tail"   12 the offset, or the text
--       13 how many entries have been looked at   14 how many are looked at now
-- Returns  epoch, head, floor, how many entries have been looked at (-1: all), its offset (0: not
--          found), its entry, "ttl" or "age" where it is over by that, or ""; and of an offset
--          that has none, the one that has taken its place, or 0
load()
if not record then return { '', 0, 0, -1, 0, '', '', 0 } end
local by, wanted, seen, count = ARGV[11], ARGV[12], tonumber(ARGV[13]), tonumber(ARGV[14])

local function answer(looked, offset, entry, instead)
  local over = ''
  if entry then
    local ends = tonumber(redis.call('ZSCORE', EXPIRING, offset) or '')
    if ends and ends <= now then over = 'ttl' elseif now - at(entry) >= TTL then over = 'age' end
  end
  return { record.epoch, record.offset, record.floor, looked, tonumber(offset or 0), entry or '',
    over, tonumber(instead or 0) }
end

local function has_replaced(entry)
  return string.find(',' .. (replaced_by(entry) or '') .. ',', ',' .. wanted .. ',', 1, true)
end

if by == 'offset' and seen == 0 then
  local entry = redis.call('ZRANGEBYSCORE', STREAM, wanted, wanted)[1]
  if entry then return answer(-1, wanted, entry) end
end
local some = redis.call('ZRANGE', STREAM, -seen - count, -seen - 1, 'WITHSCORES')
for i = #some - 1, 1, -2 do
  local entry, offset = some[i], some[i + 1]
  if by == 'offset' then
    if tonumber(offset) < tonumber(wanted) then return answer(-1) end
    if has_replaced(entry) then return answer(-1, nil, nil, offset) end
  elseif by == 'start' and string.sub(entry, 1, #wanted) == wanted then
    return answer(-1, offset, entry)
  elseif by == 'tail' and string.find(tail_of(entry), wanted, 1, true) then
    return answer(-1, offset, entry)
  end
end
return answer(#some < 2 * count and -1 or seen + count)
