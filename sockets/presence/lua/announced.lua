-- Changes have been announced.
--
-- KEYS  1 state   ARGV  generations
for _, generation in ipairs(ARGV) do redis.call('HDEL', KEYS[1], 'unsaid:' .. generation) end
return 1
