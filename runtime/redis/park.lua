-- An owner without work of its own looks into its mailbox and, when nothing is there, asks to be woken: the next delivery
-- rings the doorbell. One script, so that no wake-up is lost between the look and the sleep.
-- KEYS  1 meta  2 hi  3 in  4 out
-- ARGV  1 epoch  2 hi cursor  3 in cursor  4 entries of each lane at most  5 first outbox id to keep
-- Reply: 'fenced' | 'parked' | {how many of the rest are of hi, then id and body of each entry}
local at = redis.call('HMGET', KEYS[1], 'epoch', 'hi', 'in')
if at[1] ~= ARGV[1] then
  return 'fenced'
end
local news = { 0 }
for lane = 2, 3 do
  for _, entry in ipairs(redis.call('XRANGE', KEYS[lane], '(' .. ARGV[lane], '+', 'COUNT', ARGV[4])) do
    news[#news + 1] = entry[1]
    news[#news + 1] = entry[2][2]
  end
  if lane == 2 then
    news[1] = (#news - 1) / 2
  end
end
if #news > 1 then
  return news
end
-- Commits trim whole nodes only. The rest goes here, if all of it is known to be taken: a commit may have failed.
if (at[2] or '0-0') == ARGV[2] and (at[3] or '0-0') == ARGV[3] then
  redis.call('XTRIM', KEYS[2], 'MAXLEN', 0)
  redis.call('XTRIM', KEYS[3], 'MAXLEN', 0)
end
redis.call('XTRIM', KEYS[4], 'MINID', ARGV[5])
redis.call('HSET', KEYS[1], 'parked', 1)
return 'parked'
