-- ARGV  9 how many
-- Returns  at least the tasks that ended last, without their results
local found = {}
for _, key in ipairs({ ENDED, UNANNOUNCED }) do
  for _, id in ipairs(redis.call('ZRANGE', key, -tonumber(ARGV[9]), -1)) do
    local ended = tonumber(get(id, 'ended'))
    if ended and ended + KEEP > now then
      local one = task(id)
      one[7] = ''
      found[#found + 1] = one
    end
  end
end
return found
