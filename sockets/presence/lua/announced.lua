-- Changes have been announced; the state that is to be erased goes with the last of them.
--
-- KEYS  1 state   ARGV  generations
for _, generation in ipairs(ARGV) do redis.call('HDEL', KEYS[1], 'unsaid:' .. generation) end
local erase, state = unpack(redis.call('HMGET', KEYS[1], 'erase', 'state'))
if erase and state == 'offline' then
  local waits = false
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    waits = waits or string.sub(field, 1, 7) == 'unsaid:'
  end
  if not waits then redis.call('DEL', KEYS[1]) end
end
return 1
