-- Try everything that a newcomer and a durable message need, with one key, and leave nothing.
--
-- KEYS  1 a key that no user's can be
-- ARGV  1 a channel that nobody hears, or ""   2 "1": streams ask for the server's run id
-- Returns  1, or 0 where only publishing is refused
local key = KEYS[1]
local left = redis.call('TYPE', key).ok
if left ~= 'none' and left ~= 'hash' then redis.call('DEL', key) end -- of one that was refused
redis.call('HSET', key, 'a', 1, 'b', 2) -- the first write: where memory is full it is refused
redis.call('HGET', key, 'a')
redis.call('HMGET', key, 'a', 'b')
redis.call('HGETALL', key)
redis.call('HKEYS', key)
redis.call('HDEL', key, 'b')
redis.call('EXPIRE', key, 60)
redis.call('PEXPIRE', key, 60000)
redis.call('TTL', key)
redis.call('PTTL', key)
redis.call('EXISTS', key)
redis.call('DEL', key)
redis.call('ZADD', key, 1, 'a', 2, 'b')
redis.call('EXPIRE', key, 60)
redis.call('ZSCORE', key, 'a')
redis.call('ZCARD', key)
redis.call('ZCOUNT', key, '-inf', '+inf')
redis.call('ZRANGE', key, 0, -1)
redis.call('ZRANGEBYSCORE', key, '-inf', '+inf')
redis.call('ZREMRANGEBYSCORE', key, 1, 1)
redis.call('ZREM', key, 'b')
redis.call('DEL', key)
redis.call('SADD', key, 'a', 'b')
redis.call('EXPIRE', key, 60)
redis.call('SCARD', key)
redis.call('SMEMBERS', key)
redis.call('SRANDMEMBER', key, 1)
redis.call('SREM', key, 'a')
redis.call('DEL', key)
redis.call('SET', key, '1', 'EX', 60)
redis.call('GET', key)
redis.call('TIME')
if ARGV[2] == '1' then redis.call('INFO', 'server') end
redis.call('DEL', key)
if ARGV[1] == '' then return 1 end
return type(redis.pcall('PUBLISH', ARGV[1], '')) == 'number' and 1 or 0
