-- ARGV  9 how many
-- Returns  at least the tasks that ended last
local found = {}
for _, key in ipairs({ ENDED, UNANNOUNCED }) do
  for _, id in ipairs(redis.call('ZRANGE', key, -tonumber(ARGV[9]), -1)) do
    local ended = tonumber(get(id, 'ended'))
    if ended and ended + KEEP > now then found[#found + 1] = task(id) end
  end
end
return found
