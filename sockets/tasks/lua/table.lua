-- Put in front of the others: the table of tasks and workers. All keys share one slot.
--
-- KEYS  1 workers (HASH: worker -> its seat, as JSON)   2 seats (ZSET: worker -> end of its lease)
--       3 idle (ZSET: worker -> since when)   4 deadlines (ZSET: task -> when it is lost)
--       5 ended (ZSET: task -> until when it is remembered)
--       6 unsaid (ZSET: ended task -> when somebody else must announce it)
--       7 the start of a task's key (HASH)   8 of a worker's (SET: the tasks it holds)
--       9 of a pool's (SET: its seated workers)
--       10 unannounced (ZSET: ended task -> when it ended); from here it goes to `ended`
-- ARGV  1 now, seconds ("": this server's clock)   2 seconds that an offer stands
--       3 that a worker may be away   4 that an ended task is remembered   5 how many of them
--       6 seconds that a seat's lease lasts   7 that an announcement may take
--       8 how many ended tasks wait to be announced, for each of those that are remembered
-- A task's hash: spec (JSON: what never changes), state, worker, started, ended, result (JSON),
-- error; offer, seat (JSON) while one stands; accepted, deadline, away_until, call.
local WORKERS, SEATS, IDLE, DEADLINES, ENDED, ANNOUNCE_AT = unpack(KEYS, 1, 6)
local UNANNOUNCED = KEYS[10]
local OFFER_TTL, GRACE, KEEP = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local HISTORY, SEAT_TTL, ANNOUNCE_WITHIN = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local MANY = 100 -- of what a sweep ends; the rest is the next one's
local UNANNOUNCED_FOR_EACH = tonumber(ARGV[8])

local function clock()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local time = redis.call('TIME')
  return time[1] + time[2] / 1000000
end

local function text(seconds) return string.format('%.6f', seconds) end

local now = clock()
local function task_key(id) return KEYS[7] .. id end
local function held_key(worker) return KEYS[8] .. worker end
local function get(id, field) return redis.call('HGET', task_key(id), field) end

-- What Python reads: id, spec, state, worker, started, ended, result, error.
local function task(id)
  local found = redis.call('HMGET', task_key(id),
    'spec', 'state', 'worker', 'started', 'ended', 'result', 'error')
  if not found[1] then return false end
  for i = 1, 7 do found[i] = found[i] or '' end
  return { id, unpack(found) }
end

-- Whether two specs ask for the same, as is_repetition() in repetition.py.
local function same_request(one, other)
  one, other = cjson.decode(one), cjson.decode(other)
  if one.request and other.request then return one.request == other.request end
  return one.pool == other.pool and one.event == other.event and one.user == other.user
    and one.progress_to_user == other.progress_to_user and one.timeout == other.timeout
end

local function forget(id)
  redis.call('DEL', task_key(id))
  redis.call('ZREM', ENDED, id)
  redis.call('ZREM', ANNOUNCE_AT, id)
  redis.call('ZREM', UNANNOUNCED, id)
end

-- The end is announced: it is remembered until KEEP is over, and among HISTORY others.
local function remember(id)
  redis.call('ZREM', ANNOUNCE_AT, id)
  redis.call('ZREM', UNANNOUNCED, id)
  local ended = tonumber(get(id, 'ended'))
  if ended then redis.call('ZADD', ENDED, text(ended + KEEP), id) end
end

-- A node of the version before has put the end into `ended` before it was announced.
local function forget_if_announced(id)
  local ended = get(id, 'ended')
  if ended and redis.call('ZSCORE', ANNOUNCE_AT, id) then
    redis.call('ZREM', ENDED, id)
    redis.call('ZADD', UNANNOUNCED, ended, id)
  else
    forget(id)
  end
end

-- Returns how many were forgotten that nobody has announced.
local function forget_old()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', ENDED, '-inf', text(now), 'LIMIT', 0, MANY)) do
    forget_if_announced(id)
  end
  local more = redis.call('ZCARD', ENDED) - HISTORY
  if more > 0 then
    for _, id in ipairs(redis.call('ZRANGE', ENDED, 0, more - 1)) do forget_if_announced(id) end
  end
  local dropped = 0
  more = redis.call('ZCARD', UNANNOUNCED) - UNANNOUNCED_FOR_EACH * HISTORY
  if more > 0 then
    for _, id in ipairs(redis.call('ZRANGE', UNANNOUNCED, 0, more - 1)) do
      if redis.call('ZSCORE', ANNOUNCE_AT, id) then dropped = dropped + 1 end
      forget(id)
    end
  end
  return dropped
end

local function forget_if_done_with(worker)
  if not redis.call('ZSCORE', SEATS, worker) and redis.call('SCARD', held_key(worker)) == 0 then
    redis.call('ZREM', IDLE, worker)
  end
end

-- Its worker, if it has one, has a free place again.
local function let_go(id)
  local worker = get(id, 'worker')
  if worker and worker ~= '' then
    redis.call('SREM', held_key(worker), id)
    redis.call('ZADD', IDLE, text(now), worker)
    forget_if_done_with(worker)
  end
end

-- The offered task is laid before nobody.
local function take_back(id)
  let_go(id)
  redis.call('HDEL', task_key(id), 'offer', 'seat')
  redis.call('HSET', task_key(id), 'worker', '')
end

local function watch(id)
  local found = redis.call('HMGET', task_key(id), 'deadline', 'away_until')
  local due = tonumber(found[1])
  if found[2] then due = math.min(due, tonumber(found[2])) end
  redis.call('ZADD', DEADLINES, text(due), id)
end

-- In this order: whichever step Redis refuses, the end is still to be announced, or the task is
-- still to be found by its deadline.
local function complete(id)
  if not redis.call('ZSCORE', ANNOUNCE_AT, id) and not redis.call('ZSCORE', ENDED, id) then
    redis.call('ZADD', UNANNOUNCED, text(now), id)
    redis.call('ZADD', ANNOUNCE_AT, text(now + ANNOUNCE_WITHIN), id)
  end
  redis.call('HDEL', task_key(id), 'offer', 'seat', 'away_until')
  let_go(id)
  redis.call('ZREM', DEADLINES, id)
  local ended = task(id)
  return ended, forget_old()
end

local function finish(id, state, result, error, call)
  redis.call('HSET', task_key(id), 'state', state, 'ended', text(now), 'result', result,
    'error', error, 'call', call)
  return complete(id)
end

local function is_live(state) return state == 'offered' or state == 'running' end

-- The seat is empty: what was offered there is withdrawn; its worker has to come back for what runs.
local function vacate(worker)
  local seat = redis.call('HGET', WORKERS, worker)
  if seat then
    for _, pool in ipairs(cjson.decode(seat).pools) do redis.call('SREM', KEYS[9] .. pool, worker) end
  end
  redis.call('HDEL', WORKERS, worker)
  redis.call('ZREM', SEATS, worker)
  for _, id in ipairs(redis.call('SMEMBERS', held_key(worker))) do
    if get(id, 'state') == 'running' then
      redis.call('HSET', task_key(id), 'away_until', text(now + GRACE))
      watch(id)
    end
  end
  forget_if_done_with(worker)
end

local function withdraw_all(worker, session)
  local withdrawn = {}
  for _, id in ipairs(redis.call('SMEMBERS', held_key(worker))) do
    local found = redis.call('HMGET', task_key(id), 'offer', 'seat')
    if found[1] and (not session or cjson.decode(found[2]).session == session) then
      withdrawn[#withdrawn + 1] = { found[1], found[2], task(id) }
      take_back(id)
    end
  end
  return withdrawn
end

-- Seats whose node does not renew them are empty.
local function sweep_seats()
  local late = redis.call('ZRANGEBYSCORE', SEATS, '-inf', text(now), 'LIMIT', 0, MANY)
  for _, worker in ipairs(late) do
    withdraw_all(worker, false)
    vacate(worker)
  end
end

local function sit(worker, seat)
  local before = redis.call('HGET', WORKERS, worker)
  if before then
    for _, pool in ipairs(cjson.decode(before).pools) do redis.call('SREM', KEYS[9] .. pool, worker) end
  end
  for _, pool in ipairs(cjson.decode(seat).pools) do redis.call('SADD', KEYS[9] .. pool, worker) end
  redis.call('HSET', WORKERS, worker, seat)
  redis.call('ZADD', SEATS, text(now + SEAT_TTL), worker)
  redis.call('ZADD', IDLE, 'NX', text(now), worker)
end
