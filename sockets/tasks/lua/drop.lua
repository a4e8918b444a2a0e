-- ARGV  8 task   9 its spec
local found = redis.call('HMGET', task_key(ARGV[8]), 'state', 'offer', 'spec')
if found[1] ~= 'offered' or found[2] then return 0 end
if not same_request(found[3], ARGV[9]) then return 0 end
redis.call('ZREM', DEADLINES, ARGV[8])
redis.call('DEL', task_key(ARGV[8]))
return 1
