-- Renews a lease. An expired lease is renewed too, as long as nobody has claimed the shard since.
-- KEYS  1 meta  2 lease
-- ARGV  1 epoch  2 owner  3 ttl in ms
-- Reply: the shard's seq, or -1 when the epoch is stale
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return -1
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return tonumber(redis.call('HGET', KEYS[1], 'seq') or '0')
