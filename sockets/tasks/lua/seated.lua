-- ARGV  9 workers   10 tasks of all of them together
-- Returns  how many workers are seated; of the first of them by name its seat, how many tasks it
--          holds, and some of those
sweep_seats()
local names = redis.call('HKEYS', WORKERS)
table.sort(names)
local found, left = { #names }, tonumber(ARGV[10])
for i = 1, math.min(#names, tonumber(ARGV[9])) do
  local held, tasks = redis.call('SMEMBERS', held_key(names[i])), {}
  table.sort(held)
  for j = 1, math.min(#held, left) do tasks[#tasks + 1] = task(held[j]) end
  left = left - #tasks
  found[#found + 1] = redis.call('HGET', WORKERS, names[i])
  found[#found + 1] = #held
  found[#found + 1] = tasks
end
return found
