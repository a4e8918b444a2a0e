-- What a user had proved before counts no more. Runs after user.lua.
--
-- ARGV  5 what: 'user', 'sid:<login>' or 'jti:<token>'   6 before, seconds ('': now)
--       7 code   8 reason   9 of how many things this is remembered
-- Returns  effects, the ended (session, info, …)
purge()
local what, before, asked = ARGV[5], tonumber(ARGV[6]) or now, now
load_revocations()
local count = 0
for _ in pairs(revocations) do count = count + 1 end
if count >= tonumber(ARGV[9]) and not revocations[what] then
  local newest = 0
  for _, entry in pairs(revocations) do newest = math.max(newest, entry[1]) end
  revocations = { user = { newest, asked } }
end
local earlier = revocations[what] and revocations[what][1] or before
revocations[what] = { math.max(before, earlier), asked }
redis.call('DEL', REVOKED)
for name, entry in pairs(revocations) do
  redis.call('HSET', REVOKED, name, text(entry[1]) .. ' ' .. text(entry[2]))
end
redis.call('EXPIRE', REVOKED, REVOKED_TTL)

local out = {}
for _, session in ipairs(redis.call('ZRANGE', SESSIONS, 0, -1)) do
  local info = redis.call('HGET', INFO, session) or ''
  local names, concerned = proof_of(info), false
  for _, name in ipairs(names) do concerned = concerned or name == what end
  if concerned and (ARGV[6] == '' or revoked(info)) then
    out[#out + 1] = session
    out[#out + 1] = close(session, ARGV[7] .. ' ' .. ARGV[8])
  end
end
left()
return { effects(), out }
