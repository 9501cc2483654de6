-- Adds messages to one lane of a shard, each (source, seq) once (transport T3), and rings the doorbell if the owner sleeps.
-- A shard's marks stand in one hash; a client's mark is a key of its own that expires, since clients come and go.
-- KEYS  1 meta  2 lane  3 dd (hash)  4 the client's mark, when ARGV[4] is '1'
-- ARGV  1 cap (0: none)  2 '1' when the shard must exist  3 doorbell channel  4 '1' when the source is a client
--       5 lane's name  6 the client's mark ttl in s, then for each message: source, incarnation, seq, body
-- Reply: 'ok' | 'busy' (nothing was added) | 'gone'
if ARGV[2] == '1' and redis.call('EXISTS', KEYS[1]) == 0 then
  return 'gone'
end
local cap = tonumber(ARGV[1])
local client = ARGV[4] == '1'
local marks = {}
local added = {}
for i = 7, #ARGV, 4 do
  local source = ARGV[i]
  local incarnation = tonumber(ARGV[i + 1])
  local seq = tonumber(ARGV[i + 2])
  local mark = marks[source]
  if mark == nil then
    local text
    if client then
      text = redis.call('GET', KEYS[4])
    else
      text = redis.call('HGET', KEYS[3], source .. ':' .. ARGV[5])
    end
    mark = { 0, 0 }
    if text then
      local colon = string.find(text, ':', 1, true)
      mark = { tonumber(string.sub(text, 1, colon - 1)), tonumber(string.sub(text, colon + 1)) }
    end
    marks[source] = mark
  end
  if incarnation > mark[1] or (incarnation == mark[1] and seq > mark[2]) then
    -- Only what is new can be refused: a delivery that is repeated since its answer was lost has been taken.
    if #added == 0 and cap > 0 and redis.call('XLEN', KEYS[2]) >= cap then
      return 'busy'
    end
    mark[1] = incarnation
    mark[2] = seq
    mark[3] = true
    added[#added + 1] = redis.call('XADD', KEYS[2], '*', 'e', ARGV[i + 3])
    added[#added + 1] = ARGV[i + 3]
  end
end
for source, mark in pairs(marks) do
  if mark[3] then
    local text = string.format('%d:%d', mark[1], mark[2])
    if client then
      redis.call('SET', KEYS[4], text, 'EX', ARGV[6])
    else
      redis.call('HSET', KEYS[3], source .. ':' .. ARGV[5], text)
    end
  end
end
local parked = #added > 0 and redis.call('HGET', KEYS[1], 'parked')
if parked then
  local control = ARGV[5] == 'hi'
  ring(KEYS[1], ARGV[3], parked, control and added or {}, control and {} or added)
end
return 'ok'
