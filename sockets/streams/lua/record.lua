-- Put in front of append.lua, follow.lua, head.lua and look.lua: one user's record. It is opened by
-- `open`, or only looked at after `load`, which writes nothing.
--
-- KEYS  1 meta (HASH: epoch, offset, floor, run, used, kept, and where they apply: asked, was, last)
--       2 stream (ZSET: offset -> entry)
--       3 collapse (HASH: k:<key> -> offset, o:<offset> -> key)   4 expiring (ZSET: end -> offset)
-- ARGV  1 now, seconds ("": this server's clock)   2 an epoch, if one has to be begun
--       3 "1": a server with another run id has forgotten something   4 seconds that a record lasts
--       5 messages kept   6 seconds that they are kept
--       7 the epoch that the caller knew, or ""   8 the highest offset that it knew
--       9 how the entry at that offset begins, or "": not known
--       10 seconds that a record lasts which only a position was asked of
local META, STREAM, COLLAPSE, EXPIRING = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local RECORD_TTL, SIZE, TTL = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local ASKED_TTL = tonumber(ARGV[10])

local function clock()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local time = redis.call('TIME')
  return time[1] + time[2] / 1000000
end

local now = clock()
local run = ''
if ARGV[3] == '1' then
  run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
end

local function text(seconds) return string.format('%.6f', seconds) end

-- A node of an earlier version extends a record that has not been used for this long: what is
-- written as `used` of an asked record is so old that it does.
local LAG = RECORD_TTL / 100 + 1

local record
local function load()
  local found = redis.call(
    'HMGET', META, 'epoch', 'offset', 'floor', 'run', 'used', 'kept', 'asked', 'was', 'last')
  -- Without `used` it was begun by a script that was refused on the way: nothing is in it.
  if not found[1] or not found[5] or found[4] ~= run then return end
  local used = tonumber(found[5])
  local asked = found[7] and found[7] == found[5]
  if now - used >= (asked and LAG + ASKED_TTL or RECORD_TTL) then return end
  record = {
    epoch = found[1],
    offset = tonumber(found[2]),
    floor = tonumber(found[3]),
    used = used,
    kept = tonumber(found[6]),
    asked = asked,
    was = found[8],
    last = found[9] or '', -- "<offset> <how the message at it begins>"
  }
  if record.kept > 0 and redis.call('EXISTS', STREAM) == 0 then
    -- It ended by itself, or somebody deleted it: nobody knows what was in it any more.
    record.floor, record.ended = record.offset, true
  end
end

-- How the entry at the head begins, up to the end of its id; "" where that is not known.
local function newest()
  if record.offset == 0 then return '' end
  local offset, start = string.match(record.last, '^(%d+) (.*)$')
  if tonumber(offset) == record.offset then return start end
  -- A node of the version before appended it.
  local entry = redis.call('ZRANGEBYSCORE', STREAM, record.offset, record.offset)[1]
  return entry and string.match(entry, '^{"id":"[^"]*"') or ''
end

-- Whether this server lags behind what the caller knew before it asked: an older append-only file,
-- a replica that lagged and took over. Or it has gone on since, with other messages.
local function went_back()
  if record.epoch ~= ARGV[7] then return false end
  local known = tonumber(ARGV[8])
  if record.offset < known then return true end
  local head = ARGV[9]
  if head == '' then return false end
  local offset, last = string.match(record.last, '^(%d+) (.*)$')
  -- A node of the version before appends without it: then it is of an earlier message.
  if tonumber(offset) == known and record.offset == known then return last ~= head end
  local entry = redis.call('ZRANGEBYSCORE', STREAM, known, known)[1]
  return entry ~= nil and string.sub(entry, 1, 7) == string.sub(head, 1, 7)
    and string.sub(entry, 1, #head) ~= head
end

local function begin()
  -- HSET first: where memory is short it refuses, and then nothing has happened yet.
  redis.call('HSET', META, 'epoch', ARGV[2], 'run', run, 'offset', 0, 'floor', 0, 'kept', 0)
  redis.call('HDEL', META, 'was', 'last', 'asked', 'used')
  redis.call('DEL', STREAM, COLLAPSE, EXPIRING)
  record = { epoch = ARGV[2], offset = 0, floor = 0, kept = 0, used = false, last = '' }
end

local function open()
  load()
  if not record then
    begin()
  elseif went_back() then
    -- Stored before anybody knows. What is kept stays; every position of before is lost.
    record.was, record.epoch = record.epoch, ARGV[2]
    redis.call('HSET', META, 'epoch', record.epoch, 'was', record.was)
  end
  if record.ended then redis.call('DEL', COLLAPSE, EXPIRING) end
end

local function save()
  redis.call('HSET', META, 'offset', record.offset, 'floor', record.floor, 'kept', record.kept,
    'last', record.last)
end

local function drop(offset)
  redis.call('ZREMRANGEBYSCORE', STREAM, offset, offset)
  redis.call('ZREM', EXPIRING, offset)
  local key = redis.call('HGET', COLLAPSE, 'o:' .. offset)
  if key then redis.call('HDEL', COLLAPSE, 'o:' .. offset, 'k:' .. key) end
end

local function at(entry) return tonumber(string.match(entry, ',"at":([%d.]+),"size":%d+}$')) end

-- What an entry has behind its body.
local function tail_of(entry)
  return string.sub(entry, tonumber(string.match(string.sub(entry, -32), '"size":(%d+)}$')))
end

-- The offsets of those whose place an entry has taken, with commas between; nil: of none.
local function replaced_by(entry)
  return string.match(tail_of(entry), ',"replaces":%[([%d,]*)%]')
end

-- By count and age, which raise the floor; by a message's own ttl, which does not.
local function trim()
  for _, offset in ipairs(redis.call('ZRANGEBYSCORE', EXPIRING, '-inf', text(now))) do
    drop(offset)
  end
  local count = redis.call('ZCARD', STREAM)
  while count > 0 do
    local oldest = redis.call('ZRANGE', STREAM, 0, 0, 'WITHSCORES')
    if count <= SIZE and now - at(oldest[1]) < TTL then break end
    record.floor = tonumber(oldest[2])
    drop(oldest[2])
    count = count - 1
  end
  if count ~= record.kept or not record.used then
    record.kept = count
    save()
  end
end

-- The record's own end is put off once in a while; entries end with their retention.
local function keep()
  if not record.used or record.asked or now - record.used >= RECORD_TTL / 100 then
    redis.call('HSET', META, 'used', text(now))
    if record.asked then redis.call('HDEL', META, 'asked') end
    redis.call('EXPIRE', META, math.ceil(RECORD_TTL))
  end
end
