-- Makes the caller a shard's owner and every former epoch stale (transport T2).
-- An epoch is a counter and a nonce, compared for equality only: a failover may lose the counter's last increment and
-- hand the number out again, but not the nonce.
-- An incarnation is the server's time, and higher than the one before: neither a failover nor a clock set back repeats it.
-- An owner that ended within the window after its claim, and did not give its lease back, has crashed: crashes in a row are
-- counted, and what the last one was trying is told (care.ts). An owner that claims anew is the one before.
-- KEYS  1 meta  2 lease
-- ARGV  1 owner  2 lease ttl in ms  3 nonce  4 '1' when the owner claims anew  5 the window in ms
-- Reply: {} while another owner's lease lasts; otherwise {epoch, seq, hi, in, outSeq, incarnation, crashes, trial}
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then
  return {}
end
local epoch = redis.call('HINCRBY', KEYS[1], 'epochs', 1) .. '-' .. ARGV[3]
redis.call('HSET', KEYS[1], 'epoch', epoch, 'owner', ARGV[1])
redis.call('HDEL', KEYS[1], 'parked')
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
local at = redis.call('HMGET', KEYS[1], 'seq', 'hi', 'in', 'outSeq', 'incarnation')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local incarnation = string.format('%d', math.max(now, tonumber(at[5] or '0') + 1))
redis.call('HSET', KEYS[1], 'incarnation', incarnation)
local crashes = 0
local trial = ''
if ARGV[4] ~= '1' then
  local before = redis.call('HMGET', KEYS[1], 'claimedAt', 'crashes', 'released', 'trial')
  if before[1] and before[3] ~= '1' and now - tonumber(before[1]) < tonumber(ARGV[5]) then
    crashes = tonumber(before[2]) + 1
    trial = before[4] or ''
  end
  redis.call('HSET', KEYS[1], 'claimedAt', string.format('%d', now), 'crashes', crashes, 'released', '0')
end
return { epoch, at[1] or '0', at[2] or '0-0', at[3] or '0-0', at[4] or '0', incarnation, tostring(crashes), trial }
