-- Makes the caller a shard's owner and every former epoch stale (transport T2).
-- An epoch is a counter and a nonce, compared for equality only: a failover may lose the counter's last increment and
-- hand the number out again, but not the nonce.
-- An incarnation is the server's time, and higher than the one before: neither a failover nor a clock set back repeats it.
-- A replica's clock may be behind its master's by less than a failover takes.
-- The lineage is `lineage.ts`'s.
-- An owner that ended within the window after its claim, and did not give its lease back, has crashed: crashes in a row are
-- counted, and what the last one was trying is told (care.ts). An owner that claims anew is the one before.
-- KEYS  1 meta  2 lease
-- ARGV  1 owner  2 lease ttl in ms  3 nonce  4 claims in a lineage at most  5 '1' when the owner claims anew
--       6 the window in ms
-- Reply: {} while another owner's lease lasts; otherwise {epoch, seq, hi, in, outSeq, incarnation, lineage, crashes, trial, made}
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then
  return {}
end
local epoch = redis.call('HINCRBY', KEYS[1], 'epochs', 1) .. '-' .. ARGV[3]
redis.call('HSET', KEYS[1], 'epoch', epoch, 'owner', ARGV[1])
redis.call('HDEL', KEYS[1], 'parked')
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
local at = redis.call('HMGET', KEYS[1], 'seq', 'hi', 'in', 'outSeq', 'incarnation', 'lineage')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local incarnation = string.format('%d', math.max(now, tonumber(at[5] or '0') + 1))
local outSeq = at[4] or '0'
local claims = {}
for of, from in string.gmatch(at[6] or '', '(%d+):(%d+)') do
  if tonumber(from) < tonumber(outSeq) then
    claims[#claims + 1] = { of, from }
  end
end
claims[#claims + 1] = { incarnation, outSeq }
if #claims > tonumber(ARGV[4]) then
  claims[2][2] = claims[1][2]
  table.remove(claims, 1)
end
for i, claim in ipairs(claims) do
  claims[i] = claim[1] .. ':' .. claim[2]
end
local lineage = table.concat(claims, ' ')
redis.call('HSET', KEYS[1], 'incarnation', incarnation, 'lineage', lineage)
local crashes = 0
local trial = ''
local made = 0
if ARGV[5] ~= '1' then
  local before = redis.call('HMGET', KEYS[1], 'claimedAt', 'crashes', 'released', 'trial', 'claimedSeq')
  if before[1] and before[3] ~= '1' and now - tonumber(before[1]) < tonumber(ARGV[6]) then
    crashes = tonumber(before[2]) + 1
    trial = before[4] or ''
    made = math.max(0, tonumber(at[1] or '0') - tonumber(before[5] or '0'))
  end
  redis.call('HSET', KEYS[1], 'claimedAt', string.format('%d', now), 'crashes', crashes, 'released', '0', 'claimedSeq', at[1] or '0')
end
return { epoch, at[1] or '0', at[2] or '0-0', at[3] or '0-0', outSeq, incarnation, lineage, tostring(crashes), trial, tostring(made) }
