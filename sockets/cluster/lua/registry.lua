-- Runs before the others: the registry of nodes. All keys share one slot.
--
-- KEYS  1 nodes (ZSET: life -> end of its lease)   2 info (HASH: life -> JSON)
--       3 claims (ZSET: dead life -> when another may claim it)   4 warm-up (STRING with an expiry)
--       5 lost (ZSET: info of a node that died -> when that was found)
-- ARGV  1 now, seconds ("": this server's clock)   2 seconds that a lease lasts
local NODES, INFO, CLAIMS, WARM = unpack(KEYS, 1, 4)
local LEASE = tonumber(ARGV[2])

local function text(seconds) return string.format('%.6f', seconds) end

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end

-- The warm-up ends by the value, so that tests can move the clock; the expiry only tidies up.
local function warm_left()
  local till = tonumber(redis.call('GET', WARM) or '0')
  return math.max(0, till - now)
end
