-- A life ends in good order. Runs after registry.lua.
--
-- ARGV  3 life   4 "1": it is still responsible for users: another node should see to them
redis.call('ZREM', NODES, ARGV[3])
if ARGV[4] == '1' then
  redis.call('ZADD', CLAIMS, text(now), ARGV[3])
else
  redis.call('ZREM', CLAIMS, ARGV[3])
  redis.call('HDEL', INFO, ARGV[3])
end
return 1
