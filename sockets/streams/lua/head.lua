-- The position of the newest message, for somebody who comes back with it. A record that is made for
-- this lasts ASKED_TTL seconds, unless a socket or a message uses it. Put after record.lua.
--
-- Returns  epoch, head, how the message there begins, or ""

-- Somebody takes the position along: it has to be good for a while, and no longer.
local function keep_asked()
  if record.asked or not record.used then
    local used = text(now - LAG)
    redis.call('HSET', META, 'used', used, 'asked', used)
    redis.call('EXPIRE', META, ASKED_TTL)
  elseif now - record.used > RECORD_TTL - ASKED_TTL then
    redis.call('HSET', META, 'used', text(now - RECORD_TTL + ASKED_TTL))
    redis.call('EXPIRE', META, ASKED_TTL)
  end
end

open()
keep_asked()
return { record.epoch, record.offset, newest() }
