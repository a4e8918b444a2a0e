-- ARGV  9 worker   10 session
-- Returns  the offers that were withdrawn: offer, seat, task
local withdrawn = withdraw_all(ARGV[9], ARGV[10])
local seat = redis.call('HGET', WORKERS, ARGV[9])
if seat and cjson.decode(seat).session == ARGV[10] then vacate(ARGV[9]) end
forget_if_done_with(ARGV[9])
return withdrawn
