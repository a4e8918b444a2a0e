-- Extend leases; one that ran out begins anew, unless something speaks against it. Runs after user.lua.
--
-- ARGV  5 sessions that a user may have (0: any)   6 "<code> <reason>" of a replaced one
--       7 of one above the limit   8 of a blocked user's   9 of one whose proof was revoked
--       10 of one whose proof is of the same second
--       11, 12, 13 session, client id, info; 14, 15, 16 of the next one, and so on
-- Returns  effects, the sessions to be closed (session, "<code> <reason>", …)
purge()
local limit = tonumber(ARGV[5])
local fenced = {}
local function fence(session, why) fenced[#fenced + 1], fenced[#fenced + 2] = session, why end

for i = 11, #ARGV, 3 do
  local session, client, info = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local proof = revoked(info)
  local live = redis.call('ZSCORE', SESSIONS, session)
  local why = not live and ended(session)
  local other = not live and not why and rival(session, client)
  if other and is_older(other, info) then
    close(other, ARGV[6])
    other = false
  end
  if why then
    fence(session, why)
  elseif other then
    fence(session, ARGV[6])
  elseif proof == 'revoked' then
    fence(session, ARGV[9])
  elseif proof then
    fence(session, ARGV[10])
  elseif live then
    redis.call('ZADD', SESSIONS, text(now + LEASE), session)
    if redis.call('HGET', INFO, session) ~= info then redis.call('HSET', INFO, session, info) end
    leased[session] = true
  elseif redis.call('EXISTS', BLOCK) == 1 then
    fence(session, ARGV[8])
  elseif limit > 0 and redis.call('ZCARD', SESSIONS) >= limit then
    fence(session, ARGV[7])
  else
    lease(session, client, info)
  end
end
if next(leased) then arrived(true) end
return { effects(), fenced }
