-- ARGV  9 task   10 offer   11 worker   12 id of this call
local id = ARGV[9]
local found = redis.call('HMGET', task_key(id), 'offer', 'worker', 'state', 'accepted', 'spec')
if found[2] ~= ARGV[11] then return false end
if found[3] == 'running' and found[4] == ARGV[12] then return task(id) end -- repeated
if found[1] ~= ARGV[10] then return false end
redis.call('HDEL', task_key(id), 'offer', 'seat')
redis.call('HSET', task_key(id), 'state', 'running', 'started', text(now), 'accepted', ARGV[12],
  'deadline', text(now + cjson.decode(found[5]).timeout))
if not redis.call('ZSCORE', SEATS, ARGV[11]) then
  redis.call('HSET', task_key(id), 'away_until', text(now + GRACE)) -- it left, and this was on its way
end
watch(id)
return task(id)
