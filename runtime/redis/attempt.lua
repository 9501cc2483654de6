-- Writes down what the owner is about to try (care.ts, X2), if the epoch is the shard's own.
-- KEYS  1 meta
-- ARGV  1 epoch  2 the trial, '' for none
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'trial', ARGV[2])
end
return 1
