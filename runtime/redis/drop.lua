-- Removes a pinned shard with all its keys, if the epoch is its own.
-- KEYS  1 meta, then every other key of the shard
-- ARGV  1 epoch
-- Reply: 1, or 0 when the epoch is stale
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return 0
end
for _, key in ipairs(KEYS) do
  redis.call('DEL', key)
end
return 1
