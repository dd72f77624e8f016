-- Reads the log of a channel: what comes after a cursor, or the last events. It begins with history.lua.
--
-- KEYS  1 meta, 2 the events: see append.lua
-- ARGV  1 events to read at most, 2 epoch of a new log, 3 epoch, 4 offset and 5 tag of the cursor, or nothing
-- Returns epoch, offset and tag of the last event, why the cursor can't be followed, or '', the events, and the stamp of the state, or ''.

local meta = redis.call('HMGET', KEYS[1], 'e', 'o', 't', 'se', 'sv')
local epoch, top, tag = meta[1], tonumber(meta[2]), meta[3]

-- Who reads an empty log gets a place in it, so that the first event can be told from the second.
if not epoch then
  epoch, top, tag = ARGV[2], 0, '0'
  redis.call('HSET', KEYS[1], 'e', epoch, 'o', '0', 't', '0', 'r', history())
  redis.call('PEXPIRE', KEYS[1], META_TTL)
  redis.call('DEL', KEYS[2])
end

local function answer (reason, events)
  return { epoch, string.format('%.0f', top), tag, reason, events, meta[4] and meta[4] .. '-' .. meta[5] or '' }
end

if not ARGV[3] then return answer('', redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', ARGV[1])) end

local offset = tonumber(ARGV[4])
if ARGV[3] ~= epoch then return answer('epoch', {}) end
if offset > top then return answer('ahead', {}) end
if offset == top then return answer(ARGV[5] == tag and '' or 'diverged', {}) end

local events = redis.call('XRANGE', KEYS[2], string.format('%.0f', offset + 1), '+', 'COUNT', ARGV[1])
if #events == 0 then return answer('expired', {}) end
local first = events[1]
if tonumber(string.match(first[1], '^%d+')) ~= offset + 1 then return answer('trimmed', {}) end
for i = 1, #first[2], 2 do
  if first[2][i] == 'p' and first[2][i + 1] ~= ARGV[5] then return answer('diverged', {}) end
end
return answer('', events)
