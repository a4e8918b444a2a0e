-- ARGV  8 task   9 worker
local found = redis.call('HMGET', task_key(ARGV[8]), 'state', 'worker', 'spec')
if found[1] ~= 'running' or found[2] ~= ARGV[9] then return false end
redis.call('HSET', task_key(ARGV[8]), 'deadline', text(now + cjson.decode(found[3]).timeout))
watch(ARGV[8])
return task(ARGV[8])
