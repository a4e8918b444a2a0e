-- ARGV  9 task   10 its spec
local found = redis.call('HMGET', task_key(ARGV[9]), 'state', 'offer', 'spec')
if found[1] ~= 'offered' or found[2] then return 0 end
if not same_request(found[3], ARGV[10]) then return 0 end
redis.call('ZREM', DEADLINES, ARGV[9])
redis.call('DEL', task_key(ARGV[9]))
return 1
