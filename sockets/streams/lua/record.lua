-- Put in front of append.lua and read.lua: one user's record, opened and trimmed.
--
-- KEYS  1 meta (HASH: epoch, offset, floor, run, used, kept)   2 stream (ZSET: offset -> entry)
--       3 collapse (HASH: k:<key> -> offset, o:<offset> -> key)   4 expiring (ZSET: end -> offset)
-- ARGV  1 now, seconds ("": this server's clock)   2 an epoch, if one has to be begun
--       3 "1": a server with another run id has forgotten something   4 seconds that a record lasts
--       5 messages kept   6 seconds that they are kept
local META, STREAM, COLLAPSE, EXPIRING = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local RECORD_TTL, SIZE, TTL = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

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

local record = {}
do
  local found = redis.call('HMGET', META, 'epoch', 'offset', 'floor', 'run', 'used', 'kept')
  local stale = not found[1] or found[4] ~= run or now - found[5] >= RECORD_TTL
  if stale then
    -- HSET first: where memory is short it refuses, and then nothing has happened yet.
    redis.call('HSET', META, 'epoch', ARGV[2], 'run', run)
    redis.call('DEL', STREAM, COLLAPSE, EXPIRING)
    record = { epoch = ARGV[2], offset = 0, floor = 0, kept = 0, used = false }
  else
    record = {
      epoch = found[1],
      offset = tonumber(found[2]),
      floor = tonumber(found[3]),
      used = tonumber(found[5]),
      kept = tonumber(found[6]),
    }
    if record.kept > 0 and redis.call('EXISTS', STREAM) == 0 then
      -- It ended by itself, or somebody deleted it: what was in it cannot be told any more.
      redis.call('DEL', COLLAPSE, EXPIRING)
      record.floor = record.offset
    end
  end
end

local function save()
  redis.call('HSET', META, 'offset', record.offset, 'floor', record.floor, 'kept', record.kept)
end

local function drop(offset)
  redis.call('ZREMRANGEBYSCORE', STREAM, offset, offset)
  redis.call('ZREM', EXPIRING, offset)
  local key = redis.call('HGET', COLLAPSE, 'o:' .. offset)
  if key then redis.call('HDEL', COLLAPSE, 'o:' .. offset, 'k:' .. key) end
end

-- By count and age, which raise the floor; by a message's own ttl, which does not.
local function trim()
  for _, offset in ipairs(redis.call('ZRANGEBYSCORE', EXPIRING, '-inf', string.format('%.6f', now))) do
    drop(offset)
  end
  local count = redis.call('ZCARD', STREAM)
  while count > 0 do
    local oldest = redis.call('ZRANGE', STREAM, 0, 0, 'WITHSCORES')
    local at = tonumber(string.match(oldest[1], ',"at":([%d.]+),"size":%d+}$'))
    if count <= SIZE and now - at < TTL then break end
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
  if not record.used or now - record.used >= RECORD_TTL / 100 then
    redis.call('HSET', META, 'used', string.format('%.6f', now))
    redis.call('EXPIRE', META, math.ceil(RECORD_TTL))
  end
end
