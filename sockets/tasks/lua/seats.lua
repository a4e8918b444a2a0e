-- Returns  the seat of each seated worker and how many tasks it holds
sweep_seats()
local found = {}
for _, worker in ipairs(redis.call('ZRANGE', SEATS, 0, -1)) do
  found[#found + 1] = redis.call('HGET', WORKERS, worker)
  found[#found + 1] = redis.call('SCARD', held_key(worker))
end
return found
