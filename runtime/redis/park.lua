-- An owner with nothing to do asks to be woken: the next delivery rings the doorbell. Says "news" when entries came
-- between the owner's last look and now, so that no wake-up is lost.
-- KEYS  1 meta  2 hi  3 in  4 out
-- ARGV  1 epoch  2 hi cursor  3 in cursor  4 first outbox id to keep
-- Reply: 'parked' | 'news' | 'fenced'
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return 'fenced'
end
if #redis.call('XRANGE', KEYS[2], '(' .. ARGV[2], '+', 'COUNT', 1) > 0 then
  return 'news'
end
if #redis.call('XRANGE', KEYS[3], '(' .. ARGV[3], '+', 'COUNT', 1) > 0 then
  return 'news'
end
-- All of both lanes has been taken: commits trim whole nodes only, this trims the rest.
redis.call('XTRIM', KEYS[2], 'MAXLEN', 0)
redis.call('XTRIM', KEYS[3], 'MAXLEN', 0)
redis.call('XTRIM', KEYS[4], 'MINID', ARGV[4])
redis.call('HSET', KEYS[1], 'parked', 1)
return 'parked'
