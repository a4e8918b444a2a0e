-- ARGV  9 worker   10 its seat, as JSON
-- Returns  the running tasks that it still holds
sweep_seats()
sit(ARGV[9], ARGV[10])
local running = {}
for _, id in ipairs(redis.call('SMEMBERS', held_key(ARGV[9]))) do
  if get(id, 'state') == 'running' then
    redis.call('HDEL', task_key(id), 'away_until')
    watch(id)
    running[#running + 1] = task(id)
  end
end
return running
