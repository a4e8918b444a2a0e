-- Begin a lease, and take over the client id. Runs after user.lua.
--
-- ARGV  5 session   6 client id   7 its info, as JSON   8 sessions that a user may have (0: any)
--       9 "1": above that the oldest goes   10 seconds that a lease of a living node has left
--       11 "<code> <reason>" of a replaced one   12 of one above the limit
-- Returns  effects, why it is refused or '', the replaced (session, info), the evicted (…)
purge()
local session, client, limit = ARGV[5], ARGV[6], tonumber(ARGV[8])
if ended(session) then return { effects(), 'ended', {}, {} } end
if redis.call('EXISTS', BLOCK) == 1 then return { effects(), 'blocked', {}, {} } end
local why = revoked(ARGV[7])
if why then return { effects(), why, {}, {} } end

local other = rival(session, client)
if other and is_overtaken(other, ARGV[7]) then return { effects(), 'overtaken', {}, {} } end
local evicted = {}
if limit > 0 then
  local others = {}
  for _, one in ipairs(redis.call('ZRANGE', SESSIONS, 0, -1)) do
    if one ~= session and one ~= other then others[#others + 1] = one end
  end
  if #others >= limit and ARGV[9] ~= '1' then
    local first = redis.call('ZRANGE', SESSIONS, 0, 0, 'WITHSCORES')
    local stale = tonumber(first[2]) - now < tonumber(ARGV[10])
    return { effects(), stale and 'stale' or 'limit', {}, {} }
  end
  if #others >= limit then
    local since = {}
    for _, one in ipairs(others) do
      local ok, known = pcall(cjson.decode, redis.call('HGET', INFO, one) or '')
      since[one] = ok and type(known) == 'table' and tonumber(known.connected_at) or 0
    end
    table.sort(others, function(a, b)
      if since[a] ~= since[b] then return since[a] < since[b] end
      return a < b
    end)
    for i = 1, #others - limit + 1 do
      evicted[#evicted + 1] = others[i]
      evicted[#evicted + 1] = close(others[i], ARGV[12])
    end
  end
end
local replaced = {}
if other then replaced = { other, close(other, ARGV[11]) } end
lease(session, client, ARGV[7])
arrived(false)
return { effects(), '', replaced, evicted }
