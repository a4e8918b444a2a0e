-- Decide whether a user is offline. Runs after user.lua.
--
-- ARGV  5 seconds for which nobody is declared offline
--       6 a node that died ('': none): the leases that it left are waited for
--       7 until when this may be decided ('': whenever): what is heard later was asked before this
--         server stood still, and then all leases seem to have run out
--       8 '1': the caller knows that the user was online
-- Returns  effects; and where it came too late, this server's time
local asked = tonumber(ARGV[7] or '')
if asked and now > asked then return { { {}, {}, text(LEASE), 0 }, text(now) } end
purge()
if ARGV[6] ~= '' then
  local live = redis.call('ZRANGE', SESSIONS, 0, -1, 'WITHSCORES')
  for i = 1, #live, 2 do
    local ok, known = pcall(cjson.decode, redis.call('HGET', INFO, live[i]) or '')
    if ok and type(known) == 'table' and known.node == ARGV[6] then
      wait = text(tonumber(live[i + 1]) - now) -- in order: the last one counts
    end
  end
end
if GRACE and redis.call('ZCARD', SESSIONS) == 0 then
  if ARGV[8] == '1' and not state.state and not erased() then recall() end
  local due = 0
  if state.state == 'grace' then due = tonumber(state.grace_end) - now end
  due = math.max(due, tonumber(ARGV[5]))
  if state.state == 'grace' or state.state == 'online' then
    if due > 0 then
      wait = text(due)
    else
      change('offline')
      redis.call('HDEL', STATE, 'grace_end')
    end
  end
end
return { effects() }
