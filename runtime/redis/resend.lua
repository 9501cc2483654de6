-- Takes a dead letter away and puts its message into a mailbox: both or neither, and once (dead-letters.ts, L1).
-- KEYS  1 dlq  2 meta and 3 normal lane of the receiver
-- ARGV  1 letter's id  2 body  3 '1' when the receiver must exist  4 doorbell of the receiver
-- Reply: 'sent' | 'absent' | 'gone'
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then
  return 'absent'
end
if ARGV[3] == '1' and redis.call('EXISTS', KEYS[2]) == 0 then
  return 'gone'
end
local id = redis.call('XADD', KEYS[3], '*', 'e', ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[1])
local parked = redis.call('HGET', KEYS[2], 'parked')
if parked then
  ring(KEYS[2], ARGV[4], parked, {}, { id, ARGV[2] })
end
return 'sent'
