-- Reads the log of a channel: what comes after a cursor, or the last events. It begins with history.lua.
--
-- KEYS  1 meta, 2 the events: see log.lua
-- ARGV  1 events to read at most, 2 epoch of a new log, 3 epoch, 4 offset and 5 tag of the cursor, or nothing
-- Returns the epoch, the last event's id, or 0-0, why the cursor can't be followed, or '', the events, and the stamp of the state, or ''.

local meta = redis.call('HMGET', KEYS[1], 'e', 'l', 'se', 'sv')
local epoch, last = meta[1], meta[2]
local top = string.match(last or '', '^(%d+)-%d+$')

-- Who reads an empty log gets a place in it, so that the first event can be told from the second.
if not (epoch and top) then
  epoch, last, top = ARGV[2], '0-0', '0'
  redis.call('HSET', KEYS[1], 'e', epoch, 'l', last, 'r', history())
  redis.call('PEXPIRE', KEYS[1], META_TTL)
  redis.call('DEL', KEYS[2])
end

local function answer (reason, events)
  return { epoch, last, reason, events, meta[3] and meta[3] .. '-' .. meta[4] or '' }
end

if not ARGV[3] then return answer('', redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', ARGV[1])) end

local offset = tonumber(ARGV[4])
top = tonumber(top)
if ARGV[3] ~= epoch then return answer('epoch', {}) end
if offset > top then return answer('ahead', {}) end
if offset == top then return answer(ARGV[4] .. '-' .. ARGV[5] == last and '' or 'diverged', {}) end

local events = redis.call('XRANGE', KEYS[2], string.format('%.0f', offset + 1), '+', 'COUNT', ARGV[1])
if #events == 0 then return answer('expired', {}) end
local first = events[1]
if tonumber(string.match(first[1], '^%d+')) ~= offset + 1 then return answer('trimmed', {}) end
for i = 1, #first[2], 2 do
  if first[2][i] == 'p' and first[2][i + 1] ~= ARGV[5] then return answer('diverged', {}) end
end
return answer('', events)
