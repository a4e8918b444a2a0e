-- Renew the lease of a life, or begin one. Runs after registry.lua.
--
-- ARGV  3 life   4 its info, as JSON   5 "1": it begins   6 seconds since its last renewal
--       7 seconds that a warm-up lasts   8 the node's name, with which lives begin: "<name>:…"
-- Returns  1, or 0 where the life is over; seconds of warm-up left; now
local life, start = ARGV[3], ARGV[8] .. ':'
local namesakes = {}
for _, other in ipairs(redis.call('ZRANGEBYSCORE', NODES, '(' .. text(now), '+inf')) do
  if other ~= life and string.sub(other, 1, #start) == start then namesakes[#namesakes + 1] = other end
end
local ends = redis.call('ZSCORE', NODES, life)
if ARGV[5] ~= '1' then
  -- It ran out, and somebody else has the name now.
  if not ends or (tonumber(ends) <= now and #namesakes > 0) then
    return { 0, text(warm_left()), text(now) }
  end
end
redis.call('ZADD', NODES, '-inf', life)
-- Whoever begins has made sure that the name is free, or that nobody answers by it. One that was
-- only frozen finds that its lease has run out.
for _, other in ipairs(namesakes) do redis.call('ZADD', NODES, text(now), other) end
-- Its own lease tells that too: it may have been sent before this server stood still.
local late = ARGV[5] ~= '1' and tonumber(ends) <= now
if (late or tonumber(ARGV[6]) > LEASE) and redis.call('ZCOUNT', NODES, '(' .. text(now), '+inf') == 0 then
  -- Nobody could renew anything: whoever seems to be gone may only not be back yet.
  local length = tonumber(ARGV[7])
  redis.call('SET', WARM, text(now + length), 'PX', math.ceil(length * 1000))
end
redis.call('ZADD', NODES, text(now + LEASE), life)
redis.call('HSET', INFO, life, ARGV[4])
return { 1, text(warm_left()), text(now) }
