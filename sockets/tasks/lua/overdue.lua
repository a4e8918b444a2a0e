-- Returns  how many ends were forgotten that nobody has announced; the tasks that are lost now, and
--          those that ended elsewhere and were not announced
local dropped = forget_old()
sweep_seats()
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', ANNOUNCE_AT, '-inf', text(now), 'LIMIT', 0, MANY)) do
  redis.call('ZADD', ANNOUNCE_AT, text(now + ANNOUNCE_WITHIN), id)
  found[#found + 1] = task(id)
end
-- A node of the version before has announced these, and left them where they are.
local late = text(now - ANNOUNCE_WITHIN)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', UNANNOUNCED, '-inf', late, 'LIMIT', 0, MANY)) do
  if not redis.call('ZSCORE', ANNOUNCE_AT, id) then remember(id) end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', text(now), 'LIMIT', 0, MANY)) do
  local state = get(id, 'state')
  if state then
    local known = redis.call('ZSCORE', ANNOUNCE_AT, id) or redis.call('ZSCORE', ENDED, id)
    local ended, more
    if is_live(state) then ended, more = finish(id, 'lost', '', '', '') else ended, more = complete(id) end
    if not known then found[#found + 1] = ended end
    dropped = dropped + more
  else
    redis.call('ZREM', DEADLINES, id)
  end
end
return { dropped, found }
