-- Put in front of the others: the leases of one user's client sessions (or one key's workers).
--
-- KEYS  1 sessions (ZSET: session -> end of its lease)   2 info (HASH: session -> JSON)
--       3 clients (HASH: client id -> session)
-- ARGV  1 now, seconds ("": this server's clock)   2 seconds that a lease lasts
local SESSIONS, INFO, CLIENTS = KEYS[1], KEYS[2], KEYS[3]
local LEASE = tonumber(ARGV[2])

local function clock()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local time = redis.call('TIME')
  return time[1] + time[2] / 1000000
end

local now = clock()

local function client_of(info)
  local ok, decoded = pcall(cjson.decode, info)
  return ok and type(decoded) == 'table' and decoded.client_id or nil
end

local function forget(session)
  local info = redis.call('HGET', INFO, session)
  local client = info and client_of(info)
  if client and redis.call('HGET', CLIENTS, client) == session then
    redis.call('HDEL', CLIENTS, client)
  end
  redis.call('HDEL', INFO, session)
  redis.call('ZREM', SESSIONS, session)
end

local function purge()
  for _, session in ipairs(redis.call('ZRANGEBYSCORE', SESSIONS, '-inf', string.format('%.6f', now))) do
    forget(session)
  end
end

-- The other live session of this client id, if there is one. Behind purge.
local function rival(session, client)
  local other = redis.call('HGET', CLIENTS, client)
  if other and other ~= session and redis.call('ZSCORE', SESSIONS, other) then return other end
  return false
end

local function lease(session, client, info)
  redis.call('ZADD', SESSIONS, string.format('%.6f', now + LEASE), session)
  redis.call('HSET', INFO, session, info)
  redis.call('HSET', CLIENTS, client, session)
end

-- The keys end with the last lease, so that "is there a key" is "is somebody online".
local function keep()
  local last = redis.call('ZRANGE', SESSIONS, -1, -1, 'WITHSCORES')
  if #last > 0 then
    local left = math.max(1, math.ceil((tonumber(last[2]) - now) * 1000))
    for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, left) end
  end
end
