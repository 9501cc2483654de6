-- Says that a node lives, forgets those that have not said so in time, and returns the living. Redis's clock alone counts.
-- KEYS  1 nodes
-- ARGV  1 node  2 ttl in ms
-- Reply: the ids of all living nodes
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
return redis.call('ZRANGE', KEYS[1], 0, -1)
