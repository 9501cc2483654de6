-- Gives a lease back, so that the next owner need not wait for its end. The epoch stays until somebody claims.
-- KEYS  1 meta  2 lease
-- ARGV  1 epoch
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'released', '1', 'trial', '')
end
return 1
