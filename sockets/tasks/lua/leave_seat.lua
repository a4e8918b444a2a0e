-- ARGV  8 worker   9 session
-- Returns  the offers that were withdrawn: offer, seat, task
local withdrawn = withdraw_all(ARGV[8], ARGV[9])
local seat = redis.call('HGET', WORKERS, ARGV[8])
if seat and cjson.decode(seat).session == ARGV[9] then vacate(ARGV[8]) end
forget_if_done_with(ARGV[8])
return withdrawn
