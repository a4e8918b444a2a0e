-- Runs before the others: one user's client sessions (or one key's workers).
--
-- KEYS  1 sessions (ZSET: session -> end of its lease)   2 info (HASH: session -> JSON)
--       3 clients (HASH: client id -> session)
--       4 state (HASH: state, generation, grace_end, last_seen, unsaid:<generation>; erase: it goes
--         when the user is offline and that is announced)
--       5 block (STRING)   6 the start of an ended session's key (STRING: "<code> <reason>")
--       7 revoked (HASH: what -> "<before> <when that was asked>", as in revocation.py)
-- ARGV  1 now, seconds ("": this server's clock)
--       2 numbers with spaces between: seconds that a lease lasts, that info outlives the last lease
--         for whoever has to announce the end, that an ended session is remembered, that a registration
--         is on its way, that a state is kept, and revocations; how many changes wait
--       3 seconds of grace ("": these have no state: workers)
--       4 the life that is responsible for changes ("": nobody listens); on lines of their own
--         the former lives of the same process, whose changes are returned too
-- Each answer begins with what `effects` makes.
local SESSIONS, INFO, CLIENTS, STATE, BLOCK = unpack(KEYS, 1, 5)
local REVOKED = KEYS[7]
local numbers = {}
for number in string.gmatch(ARGV[2], '%S+') do numbers[#numbers + 1] = tonumber(number) end
local LEASE, AFTERLIFE, ENDED_TTL, OVERTAKEN, STATE_TTL, REVOKED_TTL, MAX_UNANNOUNCED = unpack(numbers)
local GRACE, BY = tonumber(ARGV[3]), string.match(ARGV[4], '^[^\n]*')
local MINE = {}
for life in string.gmatch(ARGV[4], '[^\n]+') do MINE[life] = true end

local function clock()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local time = redis.call('TIME')
  return time[1] + time[2] / 1000000
end

local function text(seconds) return string.format('%.6f', seconds) end

local now = clock()
local lost, leased, wait = {}, {}, ''
local state, unannounced, dropped = {}, {}, 0

local function load()
  if not GRACE then return end
  local found = redis.call('HGETALL', STATE)
  for i = 1, #found, 2 do
    local generation = string.match(found[i], '^unsaid:(%d+)$')
    if generation then unannounced[generation] = found[i + 1] else state[found[i]] = found[i + 1] end
  end
end

local function set(...) redis.call('HSET', STATE, ...) end

local function state_ttl()
  return state.erase and math.ceil(LEASE + GRACE + AFTERLIFE) or STATE_TTL
end

-- No generation ever comes twice: a new state begins with the time, and so does one that the store
-- has gone back to.
local function change(to)
  local last = tonumber(state.generation) or 0
  local generation = string.format('%.0f', math.max(last, math.floor(now * 1000)) + 1)
  state.state, state.generation = to, generation
  set('state', to, 'generation', generation)
  if BY ~= '' then
    unannounced[generation] = to .. ' ' .. text(now) .. ' ' .. BY
    set('unsaid:' .. generation, unannounced[generation])
    local waiting = {}
    for known in pairs(unannounced) do waiting[#waiting + 1] = tonumber(known) end
    if #waiting > MAX_UNANNOUNCED then
      table.sort(waiting)
      local oldest = string.format('%.0f', waiting[1])
      redis.call('HDEL', STATE, 'unsaid:' .. oldest)
      unannounced[oldest], dropped = nil, dropped + 1
    end
  end
  redis.call('EXPIRE', STATE, state_ttl())
end

local function seen(at)
  if not GRACE or state.erase or at <= (tonumber(state.last_seen) or 0) then return end
  state.last_seen = text(at)
  set('last_seen', state.last_seen)
  redis.call('EXPIRE', STATE, STATE_TTL)
end

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
  return info
end

local function lose(sessions)
  for _, session in ipairs(sessions) do
    local info = forget(session)
    if info then lost[#lost + 1], lost[#lost + 2] = session, info end
  end
end

local function purge()
  load()
  local late = redis.call('ZRANGEBYSCORE', SESSIONS, '-inf', text(now))
  if #late > 0 then
    seen(tonumber(redis.call('ZSCORE', SESSIONS, late[#late])) - LEASE)
    lose(late)
  elseif redis.call('EXISTS', SESSIONS) == 0 then
    -- The key has ended with the last lease; what is left of them waits for this.
    local left = redis.call('PTTL', INFO)
    if left > 0 then seen(now + left / 1000 - AFTERLIFE - LEASE) end
    lose(redis.call('HKEYS', INFO))
  end
end

-- The other live session of this client id, if there is one. Call it after purge.
local function rival(session, client)
  local other = redis.call('HGET', CLIENTS, client)
  if other and other ~= session and redis.call('ZSCORE', SESSIONS, other) then return other end
  return false
end

-- Whether the other session of this client id is the older one: then this one has taken its place
-- before, and the store has gone back since.
local function is_older(other, info)
  local ok, mine, theirs = pcall(function()
    return cjson.decode(info).connected_at, cjson.decode(redis.call('HGET', INFO, other)).connected_at
  end)
  return ok and tonumber(mine) and tonumber(theirs) and tonumber(theirs) < tonumber(mine)
end

-- Whether the other session of this client id came a moment after this one, whose registration was
-- longer on its way: by then the client is there. Not by more than a call lasts, for that would be
-- the clock of another version.
local function is_overtaken(other, info)
  local ok, mine, theirs = pcall(function()
    return cjson.decode(info).connected_at, cjson.decode(redis.call('HGET', INFO, other)).connected_at
  end)
  if not ok or not tonumber(mine) or not tonumber(theirs) then return false end
  local ahead = tonumber(theirs) - tonumber(mine)
  return ahead > 0 and ahead <= OVERTAKEN
end

local function lease(session, client, info)
  redis.call('ZADD', SESSIONS, text(now + LEASE), session)
  redis.call('HSET', INFO, session, info)
  redis.call('HSET', CLIENTS, client, session)
  leased[session] = true
end

local function ended(session) return redis.call('GET', KEYS[6] .. session) end

local revocations -- read once, if at all: what -> { before, when that was asked }

local function load_revocations()
  if revocations then return revocations end
  revocations = {}
  local found = GRACE and redis.call('HGETALL', REVOKED) or {}
  for i = 1, #found, 2 do
    local before, asked = string.match(found[i + 1], '^(%S+) (%S+)$')
    before, asked = tonumber(before), tonumber(asked)
    if before and asked and now - asked < REVOKED_TTL then
      revocations[found[i]] = { before, asked }
    end
  end
  return revocations
end

-- By what this session's proof can be revoked, and when that was issued.
local function proof_of(info)
  local ok, known = pcall(cjson.decode, info)
  if not ok or type(known) ~= 'table' then return { 'user' }, nil end
  local names = { 'user' }
  if known.sid then names[#names + 1] = 'sid:' .. known.sid end
  if known.jti then names[#names + 1] = 'jti:' .. known.jti end
  return names, tonumber(known.issued_at)
end

-- 'revoked', 'doubtful' (of the same second), or false.
local function revoked(info)
  if not next(load_revocations()) then return false end
  local names, issued = proof_of(info)
  local found = false
  for _, name in ipairs(names) do
    local entry = revocations[name]
    if entry then
      if not issued or issued < math.floor(entry[1]) then return 'revoked' end
      if issued < entry[1] then
        if issued % 1 ~= 0 then return 'revoked' end
        found = 'doubtful'
      end
    end
  end
  return found
end

-- Out, whatever its node does; a node that was frozen meanwhile finds out at its next renewal.
local function close(session, why)
  redis.call('SET', KEYS[6] .. session, why, 'EX', ENDED_TTL)
  return forget(session) or ''
end

-- Somebody is there. `adopted`: whoever it is was there before, only this server does not know.
local function arrived(adopted)
  if state.erase then
    redis.call('HDEL', STATE, 'erase')
    state.erase = nil
  end
  if not GRACE or state.state == 'online' then return end
  if state.state == 'grace' then
    set('state', 'online')
    redis.call('HDEL', STATE, 'grace_end')
  elseif state.state or not adopted then
    change('online')
  else
    set('state', 'online', 'generation', string.format('%.0f', math.floor(now * 1000)))
    redis.call('EXPIRE', STATE, STATE_TTL)
  end
  state.state = 'online'
end

-- Whether the state is gone because it was to go: nodes that hear of it later know better.
local function erased() return redis.call('EXISTS', KEYS[6] .. 'erased') == 1 end

-- This server has forgotten somebody who was online: as if they had gone just now. The grace is a
-- lease at least, in which other nodes renew whom they have.
local function recall()
  state.state, state.grace_end = 'grace', text(now + math.max(LEASE, GRACE))
  set('state', 'grace', 'grace_end', state.grace_end,
    'generation', string.format('%.0f', math.floor(now * 1000)))
  redis.call('EXPIRE', STATE, STATE_TTL)
end

-- Perhaps nobody is there any more: then the grace begins, or goes on. `online`: the caller knows
-- that they were.
local function left(online)
  if not GRACE or redis.call('ZCARD', SESSIONS) > 0 then return end
  if online and not state.state and not erased() then recall() end
  if state.state == 'online' then
    state.state, state.grace_end = 'grace', text(now + GRACE)
    set('state', 'grace', 'grace_end', state.grace_end)
    seen(now)
  end
  if state.state == 'grace' then wait = text(math.max(0, tonumber(state.grace_end) - now)) end
end

-- "Is there a key of sessions" is "is somebody online".
local function keep()
  local left = LEASE
  if not next(leased) then
    local last = redis.call('ZRANGE', SESSIONS, -1, -1, 'WITHSCORES')
    if #last == 0 then return end
    left = tonumber(last[2]) - now
  end
  local ms = math.max(1, math.ceil(left * 1000))
  redis.call('PEXPIRE', SESSIONS, ms)
  redis.call('PEXPIRE', INFO, ms + AFTERLIFE * 1000)
  redis.call('PEXPIRE', CLIENTS, ms + AFTERLIFE * 1000)
end

-- changes (generation, "<what> <when> <by>", …), lost (session, info, …), seconds to wait or '',
-- changes given up
local function effects()
  keep()
  if state.erase and state.state == 'offline' and not next(unannounced) then
    redis.call('DEL', STATE)
  end
  local changes = {}
  for generation, what in pairs(unannounced) do
    if MINE[string.match(what, '^%S+ %S+ (.*)$') or ''] then
      changes[#changes + 1], changes[#changes + 2] = generation, what
    end
  end
  local gone = {}
  for i = 1, #lost, 2 do
    if not leased[lost[i]] then gone[#gone + 1], gone[#gone + 2] = lost[i], lost[i + 1] end
  end
  return { changes, gone, wait, dropped }
end
