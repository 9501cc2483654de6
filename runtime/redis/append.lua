-- Adds rows to a capped stream, and tells who follows it.
-- KEYS  1 stream
-- ARGV  1 cap  2 channel, then the rows
for i = 3, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'e', ARGV[i])
end
redis.call('PUBLISH', ARGV[2], '')
return 1
