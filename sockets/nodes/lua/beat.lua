-- Renew the lease of a life, or begin one. Behind registry.lua.
--
-- ARGV  3 life   4 its info, as JSON   5 "1": it begins   6 seconds since its last renewal
--       7 seconds that a warm-up lasts
-- Returns  1, or 0 where the life is over; seconds of warm-up left; now
local life = ARGV[3]
if ARGV[5] ~= '1' and not redis.call('ZSCORE', NODES, life) then
  return { 0, text(warm_left()), text(now) }
end
redis.call('ZADD', NODES, '-inf', life)
if tonumber(ARGV[6]) > LEASE and redis.call('ZCOUNT', NODES, '(' .. text(now), '+inf') == 0 then
  -- Nobody could renew anything: whoever seems to be gone may only not be back yet.
  local length = tonumber(ARGV[7])
  redis.call('SET', WARM, text(now + length), 'PX', math.ceil(length * 1000))
end
redis.call('ZADD', NODES, text(now + LEASE), life)
redis.call('HSET', INFO, life, ARGV[4])
return { 1, text(warm_left()), text(now) }
