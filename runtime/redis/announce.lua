-- Says that a node lives, forgets those that have not said so in time, and returns the living and what shards need.
-- Redis's clock alone counts. A need rises only: two nodes may have found different versions.
-- KEYS  1 nodes (zset)  2 what each reads (hash)  3 needs (hash)
-- ARGV  1 node  2 what it reads  3 ttl in ms, then for each need that it has found: shard|kind, version
-- Reply: {node, what it reads, ...}, {shard|kind, version, ...}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], dead)
  redis.call('HDEL', KEYS[2], dead)
end
for i = 4, #ARGV, 2 do
  local known = tonumber(redis.call('HGET', KEYS[3], ARGV[i]) or '0')
  if tonumber(ARGV[i + 1]) > known then
    redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
  end
end
local members = {}
for _, node in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  members[#members + 1] = node
  members[#members + 1] = redis.call('HGET', KEYS[2], node) or '{}'
end
return { members, redis.call('HGETALL', KEYS[3]) }
