-- One batch of messages with all its consequences, or nothing (transport T1).
-- KEYS  1 meta  2 hi  3 in  4 ev  5 out  6 tm  7 dlq  8 fx, then a key for each record: first those set, then those deleted
-- ARGV  1 epoch  2 seq before  3 hi cursor  4 in cursor  5 outSeq  6 first outbox id to keep  7 journal ('' for none)
--       8 journal cap  9 dead letters cap  10 channel of the journal
--       11 records set  12 records deleted  13 own sends  14 outbox  15 timers set  16 timers cleared
--       17 effects begun  18 effects over  19 dead letters
--       then the values of each, in this order: body | - | lane ('h' or 'i'), body | id, shard, lane, body | due, member |
--       member | actor | actor | body
-- Reply: {'ok'} | {'fenced', seq} | {'seq', seq}
local call = redis.call
local at = call('HMGET', KEYS[1], 'epoch', 'seq')
local seq = at[2] or '0'
if at[1] ~= ARGV[1] then
  return { 'fenced', seq }
end
if seq ~= ARGV[2] then
  return { 'seq', seq }
end
local arg = 20
local key = 9
for _ = 1, tonumber(ARGV[11]) do
  call('SET', KEYS[key], ARGV[arg])
  key = key + 1
  arg = arg + 1
end
for _ = 1, tonumber(ARGV[12]) do
  call('DEL', KEYS[key])
  key = key + 1
end
for _ = 1, tonumber(ARGV[13]) do
  call('XADD', ARGV[arg] == 'h' and KEYS[2] or KEYS[3], '*', 'e', ARGV[arg + 1])
  arg = arg + 2
end
for _ = 1, tonumber(ARGV[14]) do
  call('XADD', KEYS[5], ARGV[arg], 's', ARGV[arg + 1], 'l', ARGV[arg + 2], 'e', ARGV[arg + 3])
  arg = arg + 4
end
for _ = 1, tonumber(ARGV[15]) do
  call('ZADD', KEYS[6], ARGV[arg], ARGV[arg + 1])
  arg = arg + 2
end
for _ = 1, tonumber(ARGV[16]) do
  call('ZREM', KEYS[6], ARGV[arg])
  arg = arg + 1
end
for _ = 1, tonumber(ARGV[17]) do
  call('SADD', KEYS[8], ARGV[arg])
  arg = arg + 1
end
for _ = 1, tonumber(ARGV[18]) do
  call('SREM', KEYS[8], ARGV[arg])
  arg = arg + 1
end
for _ = 1, tonumber(ARGV[19]) do
  call('XADD', KEYS[7], 'MAXLEN', '~', ARGV[9], '*', 'e', ARGV[arg])
  arg = arg + 1
end
if ARGV[7] ~= '' then
  call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[8], '*', 'e', ARGV[7])
  call('PUBLISH', ARGV[10], '')
end
call('XTRIM', KEYS[2], 'MINID', '~', ARGV[3])
call('XTRIM', KEYS[3], 'MINID', '~', ARGV[4])
call('XTRIM', KEYS[5], 'MINID', '~', ARGV[6])
call('HSET', KEYS[1], 'seq', string.format('%d', seq + 1), 'hi', ARGV[3], 'in', ARGV[4], 'outSeq', ARGV[5])
return { 'ok' }
