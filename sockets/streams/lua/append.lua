-- Add one message at the head of a user's stream, and publish it. Put after record.lua.
--
-- KEYS  5 the user's sessions (ZSET: session -> lease end)   6 the receipt of the message's own id
--       7 (or none) that of the caller's idempotency key, or of the gateway's own
--       8 (or none) with the gateway's own: that by which the version before knows the message
-- ARGV  11 id   12 body, a JSON object   13 more members of the entry, as ',"name":value…'
--       14 collapse key, or ""   15 ttl in seconds, or ""   16 seconds that a receipt lasts
--       17 channel to publish to, or ""   18 the start of what is published, in MessagePack
--       19 how many offsets of messages that it has taken the place of an entry remembers
-- Returns  id, epoch, offset, 1 if this was a duplicate, how many sessions are live,
--          0 if it was not published
open()
save() -- where memory is short this is refused, before anything has happened
trim()
local reach = redis.call('ZCOUNT', KEYS[5], '(' .. text(now), '+inf')

-- A receipt is "<end> <epoch> <offset> <id>". The end has a seventh digit, which the version before
-- reads as a part of the number and never writes: MINE, or FOR_OLD where a caller's key could have
-- the same name, and only a node of the version before may find it.
local MINE, FOR_OLD = '1', '2'
local function receipt_at(key)
  local receipt = redis.call('GET', key)
  if not receipt then return nil end
  local till, epoch, offset, id = string.match(receipt, '^(%S+) (%S+) (%S+) (.*)$')
  if tonumber(till) <= now or (epoch ~= record.epoch and epoch ~= record.was) then return nil end
  -- The store went back, and has lost the message but not its receipt: then it is sent again.
  if tonumber(offset) > record.offset then return nil end
  local found = { id, record.epoch, tonumber(offset), 1, reach, 1 }
  return found, string.match(till, '%.%d%d%d%d%d%d(%d)$')
end

for i = 6, #KEYS do
  local found, mark = receipt_at(KEYS[i])
  -- Under the name of before counts what a node of before has written, and nothing of our own.
  if found and mark ~= FOR_OLD and not (i == 8 and mark) then
    keep()
    return found
  end
end

local offset = record.offset + 1
local collapse, ttl = ARGV[14], tonumber(ARGV[15])
local tail, ends = ARGV[13], ttl and text(now + ttl)
if ttl then tail = tail .. ',"expires_at":' .. ends end
local replaced = collapse ~= '' and redis.call('HGET', COLLAPSE, 'k:' .. collapse)
if replaced then
  local before = redis.call('ZRANGEBYSCORE', STREAM, replaced, replaced)[1]
  local offsets = {}
  for one in string.gmatch(before and replaced_by(before) or '', '%d+') do
    offsets[#offsets + 1] = one
  end
  offsets[#offsets + 1] = replaced
  local first = math.max(1, #offsets - tonumber(ARGV[19]) + 1)
  tail = tail .. ',"replaces":[' .. table.concat(offsets, ',', first) .. ']'
end
tail = tail .. string.format(',"offset":%d,"at":%.6f,"size":%d}', offset, now, #ARGV[12])
redis.call('ZADD', STREAM, offset, string.sub(ARGV[12], 1, -2) .. tail)

local window = tonumber(ARGV[16])
local function note_receipts()
  for i = 6, #KEYS do
    -- A caller's own receipt stays where it is.
    if i < 8 or not receipt_at(KEYS[i]) then
      local receipt = string.format('%.6f%s %s %d %s', now + window, i < 8 and MINE or FOR_OLD,
        record.epoch, offset, ARGV[11])
      redis.call('SET', KEYS[i], receipt, 'EX', math.ceil(window))
    end
  end
end
-- What is refused from here on makes the call be repeated: that has to be known, or the message
-- has to be gone.
local noted, why = pcall(note_receipts)
if not noted then
  redis.call('ZREMRANGEBYSCORE', STREAM, offset, offset)
  error(why, 0)
end
record.offset, record.kept = offset, record.kept + 1
local start = string.match(ARGV[12], '^{"id":"[^"]*"')
if start then record.last = offset .. ' ' .. start end
save()

if collapse ~= '' then
  if replaced then drop(replaced) end
  redis.call('HSET', COLLAPSE, 'k:' .. collapse, offset, 'o:' .. offset, collapse)
end
if ttl then redis.call('ZADD', EXPIRING, ends, offset) end
trim()
keep()
local expire = math.ceil(TTL) + 60
redis.call('EXPIRE', STREAM, expire)
if collapse ~= '' then redis.call('EXPIRE', COLLAPSE, expire) end
if ttl then redis.call('EXPIRE', EXPIRING, expire) end

-- The stored message is the promise: where only this is refused, the call has succeeded.
local published = 0
if ARGV[17] ~= '' then
  local heard = redis.pcall('PUBLISH', ARGV[17], ARGV[18] .. cmsgpack.pack('epoch')
    .. cmsgpack.pack(record.epoch) .. cmsgpack.pack('offset') .. cmsgpack.pack(offset))
  published = type(heard) == 'number' and 1 or 0
end
return { ARGV[11], record.epoch, offset, 0, reach, published }
