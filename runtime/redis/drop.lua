-- Removes a pinned shard with all its keys, if the epoch is its own. Its dead letters stay for a while.
-- KEYS  1 meta  2 dlq, then every other key of the shard
-- ARGV  1 epoch  2 how long the dead letters stay, in ms
-- Reply: 1, or 0 when the epoch is stale
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return 0
end
for i, key in ipairs(KEYS) do
  if i ~= 2 then
    redis.call('DEL', key)
  end
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
