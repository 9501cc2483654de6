-- An owner without work of its own looks into its mailbox and, when nothing is there, asks to be woken (`mailbox.lua`).
-- KEYS  1 meta  2 hi  3 in  4 out
-- ARGV  1 epoch  2 hi cursor  3 in cursor  4 entries of each lane at most  5 first outbox id to keep
-- Reply: 'fenced' | 'parked' | {how many of the rest are of hi, then id and body of each entry}
local at = redis.call('HMGET', KEYS[1], 'epoch', 'hi', 'in')
if at[1] ~= ARGV[1] then
  return 'fenced'
end
redis.call('XTRIM', KEYS[4], 'MINID', ARGV[5])
-- A commit may have failed: then the shard does not stand where its owner looks, and nothing may go.
local taken = (at[2] or '0-0') == ARGV[2] and (at[3] or '0-0') == ARGV[3]
local mail = look(KEYS[2], KEYS[3], ARGV[2], ARGV[3], ARGV[4], taken)
if mail == 'parked' then
  redis.call('HSET', KEYS[1], 'parked', parked_at(ARGV[1], ARGV[2], ARGV[3]))
end
return mail
