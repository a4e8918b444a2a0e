-- ARGV  9 task   10 pool   11 its spec   12 an id for the offer   13 … workers that are passed over
-- Returns  offer, seat, task; or nothing
sweep_seats()
local id, pool = ARGV[9], ARGV[10]
if redis.call('ZSCORE', ENDED, id) then return false end
local found = redis.call('HMGET', task_key(id), 'state', 'offer', 'seat', 'spec')
if not found[1] then
  redis.call('HSET', task_key(id), 'spec', ARGV[11], 'state', 'offered', 'worker', '',
    'deadline', text(now + OFFER_TTL))
  watch(id)
elseif found[2] == ARGV[12] then
  return { ARGV[12], found[3], task(id) } -- asked again, because the answer was lost
elseif found[2] or found[1] ~= 'offered' or not same_request(found[4], ARGV[11]) then
  return false
end
local passed_over = {}
for i = 13, #ARGV do passed_over[ARGV[i]] = true end
local best, best_load, best_idle
for _, worker in ipairs(redis.call('SMEMBERS', KEYS[9] .. pool)) do
  if not passed_over[worker] then
    local seat = redis.call('HGET', WORKERS, worker)
    local held, capacity = redis.call('SCARD', held_key(worker)), cjson.decode(seat).capacity
    if held < capacity then
      local load, idle = held / capacity, tonumber(redis.call('ZSCORE', IDLE, worker))
      if not best or load < best_load or (load == best_load and idle < best_idle) then
        best, best_load, best_idle = worker, load, idle
      end
    end
  end
end
if not best then return false end
local seat = redis.call('HGET', WORKERS, best)
redis.call('HSET', task_key(id), 'worker', best, 'offer', ARGV[12], 'seat', seat,
  'deadline', text(now + OFFER_TTL))
watch(id)
redis.call('SADD', held_key(best), id)
redis.call('ZADD', IDLE, text(now), best)
return { ARGV[12], seat, task(id) }
