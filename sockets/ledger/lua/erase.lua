-- Remove a user's entries, and note that sessions of before do not count.
--
-- KEYS  1 ledger; as of write.lua   ARGV  1 before when   2 seconds that this is known
-- Returns  how many entries there were
local count = 0
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if field ~= 'erased' then count = count + 1 end
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'erased', ARGV[1])
redis.call('EXPIRE', KEYS[1], math.ceil(tonumber(ARGV[2])))
return count
