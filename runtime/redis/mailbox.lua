-- What several scripts do with a mailbox, put before each of them: to look into it, and to ring its owner's doorbell.

-- Entries after the cursors, as {how many are of hi, then id and body of each}, or 'parked': then the script writes
-- `parked_at` into meta, and the next one who brings something rings. One script looks and parks, so that no wake-up is lost
-- between the look and the sleep. What is `taken` for certain, since the shard itself stands at these cursors, may go:
-- commits trim whole nodes only.
local function look(hi, normal, after_hi, after_in, limit, taken)
  local mail = { 0 }
  for _, entry in ipairs(redis.call('XRANGE', hi, '(' .. after_hi, '+', 'COUNT', limit)) do
    mail[#mail + 1] = entry[1]
    mail[#mail + 1] = entry[2][2]
  end
  mail[1] = (#mail - 1) / 2
  for _, entry in ipairs(redis.call('XRANGE', normal, '(' .. after_in, '+', 'COUNT', limit)) do
    mail[#mail + 1] = entry[1]
    mail[#mail + 1] = entry[2][2]
  end
  if #mail > 1 then
    return mail
  end
  if taken then
    if after_hi ~= '0-0' then
      redis.call('XTRIM', hi, 'MAXLEN', 0)
    end
    if after_in ~= '0-0' then
      redis.call('XTRIM', normal, 'MAXLEN', 0)
    end
  end
  return 'parked'
end

-- Where the owner sleeps: what a ring begins with.
local function parked_at(epoch, after_hi, after_in)
  return epoch .. ' ' .. after_hi .. ' ' .. after_in
end

-- Wakes an owner that sleeps, and brings it what this script has added since: `control` and `normal` are ids and bodies in
-- turn. `parked` is what stands in meta. As runtime/ring.ts reads it.
local function ring(meta, channel, parked, control, normal)
  redis.call('HDEL', meta, 'parked')
  local lines = { parked .. ' ' .. #control / 2 }
  local fits = #control + #normal <= 128
  local chars = 0
  for _, mail in ipairs(fits and { control, normal } or {}) do
    for i = 1, #mail do
      lines[#lines + 1] = mail[i]
      chars = chars + #mail[i]
      fits = fits and chars <= 32768 and not string.find(mail[i], '\n', 1, true)
    end
  end
  -- Each new string costs Redis's Lua a hash over all of it: only what is sent is put together.
  redis.call('PUBLISH', channel, fits and table.concat(lines, '\n') or lines[1])
end
