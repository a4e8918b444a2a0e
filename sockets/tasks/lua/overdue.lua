-- Returns  the tasks that are lost now, and those that ended elsewhere and were not announced
forget_old()
sweep_seats()
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', UNSAID, '-inf', text(now), 'LIMIT', 0, MANY)) do
  redis.call('ZADD', UNSAID, text(now + SAY), id)
  found[#found + 1] = task(id)
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', text(now), 'LIMIT', 0, MANY)) do
  if get(id, 'state') then
    found[#found + 1] = finish(id, 'lost', '', '', '')
  else
    redis.call('ZREM', DEADLINES, id)
  end
end
return found
