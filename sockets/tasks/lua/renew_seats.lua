-- ARGV  9, 10 worker and seat, as JSON; 11, 12 of the next, and so on
-- A seat that is gone (a Redis that forgot, a frozen node) is taken again, unless another has it.
for i = 9, #ARGV, 2 do
  local worker, seat = ARGV[i], ARGV[i + 1]
  local other = redis.call('HGET', WORKERS, worker)
  if not other then
    sit(worker, seat)
    for _, id in ipairs(redis.call('SMEMBERS', held_key(worker))) do
      redis.call('HDEL', task_key(id), 'away_until')
      if get(id, 'state') == 'running' then watch(id) end
    end
  elseif cjson.decode(other).session == cjson.decode(seat).session then
    redis.call('ZADD', SEATS, text(now + SEAT_TTL), worker)
    -- Its node may have taken another name.
    if other ~= seat then redis.call('HSET', WORKERS, worker, seat) end
  end
end
return 1
