-- Decide whether a user is offline. Behind user.lua.
--
-- ARGV  5 seconds for which nobody is declared offline
-- Returns  effects
purge()
if GRACE and redis.call('ZCARD', SESSIONS) == 0 then
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
