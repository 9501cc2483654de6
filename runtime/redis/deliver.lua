-- Adds messages to one lane of a shard, each (source, seq) once (transport T3), and rings the doorbell if the owner sleeps.
-- Where the lane comes to its cap, it takes no more: nothing that comes later in the batch may overtake what is refused.
-- A shard's marks stand in one hash; a client's mark is a key of its own that expires, since clients come and go.
-- Pinned shards come and go too: their marks tell when they were set, and the old ones go when a new one comes.
--
-- A source that a failover threw back sends again, under a new incarnation, what was taken before (T6). A capped log of
-- what shards sent, ids and behind them `>source incarnation seq`, tells which of it the source no longer knows; these
-- are its orphans, and what comes with the id of one is dropped, once.
-- KEYS  1 meta  2 lane  3 dd (hash)  4 the client's mark, when ARGV[4] is '1'  5 tk (list: what was taken)
--       6 or (zset: orphans by age, as `source id`)
-- ARGV  1 cap (0: none)  2 '1' when the shard must exist  3 doorbell channel  4 '1' when the source is a client
--       5 lane's name  6 the client's mark ttl in s  7 log cap  8 sources
--       9 how long the mark of a pinned shard is kept, in ms
--       then for each source: its name, its lineage; then for each message: which source, incarnation, seq, id, body
-- Reply: how many messages, from the first on, were taken, now or before | 'gone'
local call = redis.call
if ARGV[2] == '1' and call('EXISTS', KEYS[1]) == 0 then
  return 'gone'
end
local cap = tonumber(ARGV[1])
local client = ARGV[4] == '1'

local sources = {}
local arg = 10
for i = 1, tonumber(ARGV[8]) do
  local source = { name = ARGV[arg], lineage = ARGV[arg + 1], incarnation = 0, seq = 0, moved = false }
  local text
  if client then
    text = call('GET', KEYS[4])
  else
    text = call('HGET', KEYS[3], source.name .. ':' .. ARGV[5])
  end
  if text then
    local incarnation, seq = string.match(text, '^(%d+):(%d+)')
    source.incarnation = tonumber(incarnation)
    source.seq = tonumber(seq)
    source.known = true
  end
  sources[i] = source
  arg = arg + 2
end

-- As `isForgotten` in `lineage.ts`.
local function forgotten(lineage, incarnation, seq)
  for of, from in string.gmatch(lineage, '(%d+):(%d+)') do
    if tonumber(of) > incarnation then
      return tonumber(from) < seq
    end
  end
  return false
end

local function orphan(source, incarnation)
  local ids = {}
  for _, line in ipairs(call('LRANGE', KEYS[5], 0, -1)) do
    local name, of, seq = string.match(line, '^>(%S+) (%d+) (%d+)$')
    if not name then
      ids[#ids + 1] = line
    else
      if name == source.name and forgotten(source.lineage, tonumber(of), tonumber(seq)) then
        for _, id in ipairs(ids) do
          call('ZADD', KEYS[6], incarnation, name .. ' ' .. id)
        end
      end
      ids = {}
    end
  end
  call('ZREMRANGEBYRANK', KEYS[6], 0, -1 - ARGV[7])
end

-- How many more messages the lane takes. Commits trim whole nodes only: before any is refused, what has been taken goes.
local function room_left()
  local left = cap - call('XLEN', KEYS[2])
  if left >= (#ARGV - arg + 1) / 5 then
    return left
  end
  local ms, n = string.match(call('HGET', KEYS[1], ARGV[5]) or '0-0', '^(%d+)-(%d+)$')
  return left + call('XTRIM', KEYS[2], 'MINID', string.format('%s-%d', ms, n + 1))
end

-- First what is to be done, then all of it.
local bodies = {}
local returned = {}
local log = {}
local orphans = not client and call('EXISTS', KEYS[6]) == 1
local last
local room
local taken = 0
for i = arg, #ARGV, 5 do
  local source = sources[tonumber(ARGV[i])]
  local incarnation = tonumber(ARGV[i + 1])
  local seq = tonumber(ARGV[i + 2])
  if incarnation > source.incarnation or (incarnation == source.incarnation and seq > source.seq) then
    if not client and incarnation > source.incarnation and forgotten(source.lineage, source.incarnation, source.seq) then
      orphan(source, ARGV[i + 1])
      orphans = true
    end
    local named = orphans and source.name .. ' ' .. ARGV[i + 3]
    if named and call('ZSCORE', KEYS[6], named) then
      returned[#returned + 1] = named
    else
      -- Only what is new can be refused: a delivery that is repeated since its answer was lost has been taken.
      if cap > 0 then
        room = room or room_left()
        if #bodies >= room then
          break
        end
      end
      bodies[#bodies + 1] = ARGV[i + 4]
      if not client then
        if last and (last.name ~= source.name or last.incarnation ~= ARGV[i + 1]) then
          log[#log + 1] = '>' .. last.name .. ' ' .. last.incarnation .. ' ' .. last.seq
        end
        log[#log + 1] = ARGV[i + 3]
        last = { name = source.name, incarnation = ARGV[i + 1], seq = ARGV[i + 2] }
      end
    end
    source.incarnation = incarnation
    source.seq = seq
    source.moved = true
  end
  taken = taken + 1
end

-- `incarnation:seq`, and of a pinned shard the time behind it.
local function mark_of(source)
  local mark = string.format('%d:%d', source.incarnation, source.seq)
  if string.sub(source.name, 1, 2) ~= 's@' then
    return mark
  end
  local time = call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  if not source.known then
    local marks = call('HGETALL', KEYS[3])
    for i = 1, #marks, 2 do
      local at = string.match(marks[i + 1], '^%d+:%d+:(%d+)$')
      if at and tonumber(at) < now - tonumber(ARGV[9]) then
        call('HDEL', KEYS[3], marks[i])
      end
    end
  end
  return mark .. string.format(':%d', now)
end

local added = {}
for _, body in ipairs(bodies) do
  added[#added + 1] = call('XADD', KEYS[2], '*', 'e', body)
  added[#added + 1] = body
end
for _, named in ipairs(returned) do
  call('ZREM', KEYS[6], named)
end
if last then
  log[#log + 1] = '>' .. last.name .. ' ' .. last.incarnation .. ' ' .. last.seq
  call('RPUSH', KEYS[5], unpack(log))
  call('LTRIM', KEYS[5], -ARGV[7], -1)
end
for _, source in ipairs(sources) do
  if source.moved then
    if client then
      call('SET', KEYS[4], mark_of(source), 'EX', ARGV[6])
    else
      call('HSET', KEYS[3], source.name .. ':' .. ARGV[5], mark_of(source))
    end
  end
end
local parked = #added > 0 and call('HGET', KEYS[1], 'parked')
if parked then
  local control = ARGV[5] == 'hi'
  ring(KEYS[1], ARGV[3], parked, control and added or {}, control and {} or added)
end
return taken
