-- End leases by somebody's will, all or those named. Runs after user.lua.
--
-- ARGV  5 code   6 reason   7 a client id or ''   8 a session or ''   9 … clients and sessions to spare
-- Returns  effects, the ended (session, info, …)
purge()
local spared = {}
for i = 9, #ARGV do spared[ARGV[i]] = true end
local out = {}
for _, session in ipairs(redis.call('ZRANGE', SESSIONS, 0, -1)) do
  local client = client_of(redis.call('HGET', INFO, session) or '') or ''
  if (ARGV[7] == '' or ARGV[7] == client) and (ARGV[8] == '' or ARGV[8] == session)
    and not spared[client] and not spared[session] then
    out[#out + 1] = session
    out[#out + 1] = close(session, ARGV[5] .. ' ' .. ARGV[6])
  end
end
left()
return { effects(), out }
