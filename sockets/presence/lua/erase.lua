-- Remove what is known of a user. Runs after user.lua.
--
-- Returns  effects, 1 if something was known, 1 if there is a block, 1 if there are revocations
purge()
redis.call('SET', KEYS[6] .. 'erased', '1', 'EX', math.ceil(LEASE + (GRACE or 0)))
local known = state.state or state.last_seen
redis.call('HDEL', STATE, 'last_seen')
state.last_seen = nil
if redis.call('ZCARD', SESSIONS) == 0 then
  redis.call('DEL', INFO, CLIENTS)
  if state.state then
    state.erase = '1'
    set('erase', '1')
    redis.call('EXPIRE', STATE, state_ttl())
  end
  left()
end
return { effects(), known and 1 or 0, redis.call('EXISTS', BLOCK), redis.call('EXISTS', REVOKED) }
