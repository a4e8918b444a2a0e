-- ARGV  9 task   10 worker
local found = redis.call('HMGET', task_key(ARGV[9]), 'state', 'worker', 'spec')
if found[1] ~= 'running' or found[2] ~= ARGV[10] then return false end
redis.call('HSET', task_key(ARGV[9]), 'deadline', text(now + cjson.decode(found[3]).timeout))
watch(ARGV[9])
return task(ARGV[9])
