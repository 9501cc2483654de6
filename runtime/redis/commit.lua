-- One batch of messages with all its consequences, or nothing (transport T1).
-- KEYS  1 meta  2 hi  3 in  4 ev  5 out  6 tm  7 dlq  8 fx  9 held, then meta, hi and in of each other shard that is sent
--       to, then a key for each record: first those set, then those deleted; then, if an actor changes its state, ix and
--       a key for each state that is left or entered
-- ARGV  1 epoch  2 seq before  3 hi cursor  4 in cursor  5 outSeq  6 first outbox id to keep  7 journal ('' for none)
--       8 journal cap  9 dead letters cap  10 channel of the journal
--       11 records set  12 records deleted  13 sends  14 outbox  15 timers set  16 timers cleared
--       17 effects begun  18 effects over  19 dead letters  20 other shards  21 answers  22 held  23 held that are taken
--       24 entries of each lane to look for afterwards (0: does not look)  25 moves in the index  26 states in them
--       then the values of each, in this order: body | - | key of the lane, body | place, id, shard, lane, body | due, member |
--       member | actor | actor | body | channel, body | body | id | if there are moves: when, the name of each state, and for
--       each move: the actor's id, the states (1 is the first, 0 none) that it leaves and enters | '1' if it must exist, its
--       doorbell
-- Reply: {'ok', {index of each send whose shard is gone...}, mail as `look` finds it} | {'fenced', seq} | {'seq', seq}
local call = redis.call
local at = call('HMGET', KEYS[1], 'epoch', 'seq', 'hi', 'in')
local seq = at[2] or '0'
if at[1] ~= ARGV[1] then
  return { 'fenced', seq }
end
if seq ~= ARGV[2] then
  return { 'seq', seq }
end
-- A failover may have lost mail that its reader has already: the last that is taken must be there (transport T7).
for lane = 2, 3 do
  local cursor = ARGV[lane + 1]
  if cursor ~= (at[lane + 1] or '0-0') and #call('XRANGE', KEYS[lane], cursor, cursor) == 0 then
    return { 'seq', seq }
  end
end
local others = tonumber(ARGV[20])
local arg = 27
local key = 10 + 3 * others
for _ = 1, tonumber(ARGV[11]) do
  call('SET', KEYS[key], ARGV[arg])
  key = key + 1
  arg = arg + 1
end
for _ = 1, tonumber(ARGV[12]) do
  call('DEL', KEYS[key])
  key = key + 1
end
local undelivered = {}
local gone = {}
-- By the lane's place among KEYS: what is added to the lanes of shards whose owners sleep.
local parked = {}
local added = {}
for i = 0, others - 1 do
  local meta = 10 + 3 * i
  if ARGV[#ARGV - 2 * (others - i) + 1] == '1' and call('EXISTS', KEYS[meta]) == 0 then
    gone[i] = true
  else
    parked[i] = call('HGET', KEYS[meta], 'parked')
    if parked[i] then
      added[meta + 1] = {}
      added[meta + 2] = {}
    end
  end
end
for i = 1, tonumber(ARGV[13]) do
  local lane = tonumber(ARGV[arg])
  if lane > 9 and gone[math.floor((lane - 10) / 3)] then
    undelivered[#undelivered + 1] = i - 1
  else
    local id = call('XADD', KEYS[lane], '*', 'e', ARGV[arg + 1])
    local mail = added[lane]
    if mail then
      mail[#mail + 1] = id
      mail[#mail + 1] = ARGV[arg + 1]
    end
  end
  arg = arg + 2
end
for _ = 1, tonumber(ARGV[14]) do
  call('XADD', KEYS[5], ARGV[arg], 'i', ARGV[arg + 1], 's', ARGV[arg + 2], 'l', ARGV[arg + 3], 'e', ARGV[arg + 4])
  arg = arg + 5
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
for _ = 1, tonumber(ARGV[21]) do
  call('PUBLISH', ARGV[arg], ARGV[arg + 1])
  arg = arg + 2
end
for _ = 1, tonumber(ARGV[22]) do
  call('XADD', KEYS[9], '*', 'e', ARGV[arg])
  arg = arg + 1
end
for _ = 1, tonumber(ARGV[23]) do
  call('XDEL', KEYS[9], ARGV[arg])
  arg = arg + 1
end
if ARGV[25] ~= '0' then
  local states = tonumber(ARGV[26])
  local at = ARGV[arg]
  local move = arg + states + 1
  for _ = 1, tonumber(ARGV[25]) do
    local left = tonumber(ARGV[move + 1])
    local entered = tonumber(ARGV[move + 2])
    if left > 0 then
      call('ZREM', KEYS[key + left], ARGV[move])
    end
    if entered > 0 then
      call('ZADD', KEYS[key + entered], at, ARGV[move])
    end
    move = move + 3
  end
  for i = 1, states do
    call(call('EXISTS', KEYS[key + i]) == 1 and 'SADD' or 'SREM', KEYS[key], ARGV[arg + i])
  end
end
if ARGV[7] ~= '' then
  call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[8], '*', 'e', ARGV[7])
  call('PUBLISH', ARGV[10], '')
end
for i = 0, others - 1 do
  if parked[i] then
    local meta = 10 + 3 * i
    ring(KEYS[meta], ARGV[#ARGV - 2 * (others - i - 1)], parked[i], added[meta + 1], added[meta + 2])
  end
end
local mail = ARGV[24] ~= '0' and look(KEYS[2], KEYS[3], ARGV[3], ARGV[4], ARGV[24], true)
local stands = { 'seq', string.format('%d', seq + 1), 'hi', ARGV[3], 'in', ARGV[4], 'outSeq', ARGV[5] }
if mail == 'parked' then
  stands[9] = 'parked'
  stands[10] = parked_at(ARGV[1], ARGV[3], ARGV[4])
else
  if ARGV[3] ~= '0-0' then
    call('XTRIM', KEYS[2], 'MINID', '~', ARGV[3])
  end
  if ARGV[4] ~= '0-0' then
    call('XTRIM', KEYS[3], 'MINID', '~', ARGV[4])
  end
end
call('HSET', KEYS[1], unpack(stands))
if ARGV[5] ~= '0' then
  call('XTRIM', KEYS[5], 'MINID', '~', ARGV[6])
end
return { 'ok', undelivered, mail }
