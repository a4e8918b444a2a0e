-- ARGV  8 task   9 offer   10 worker   11 id of this call
local id = ARGV[8]
local found = redis.call('HMGET', task_key(id), 'offer', 'worker', 'state', 'accepted', 'spec')
if found[2] ~= ARGV[10] then return false end
if found[3] == 'running' and found[4] == ARGV[11] then return task(id) end -- said again
if found[1] ~= ARGV[9] then return false end
redis.call('HDEL', task_key(id), 'offer', 'seat')
redis.call('HSET', task_key(id), 'state', 'running', 'started', text(now), 'accepted', ARGV[11],
  'deadline', text(now + cjson.decode(found[5]).timeout))
if not redis.call('ZSCORE', SEATS, ARGV[10]) then
  redis.call('HSET', task_key(id), 'away_until', text(now + GRACE)) -- it left, and said this last
end
watch(id)
return task(id)
