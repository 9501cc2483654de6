-- Adds rows to a capped stream, and tells who follows it.
-- KEYS  1 stream
-- ARGV  1 cap  2 channel  3 how long it is kept after its last row, in ms (0: for good), then the rows
for i = 4, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'e', ARGV[i])
end
if ARGV[3] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
redis.call('PUBLISH', ARGV[2], '')
return 1
