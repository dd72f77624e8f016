-- Reads a page of the log of a channel: what comes after a cursor, or the last events. It begins with history.lua and
-- page.lua.
--
-- KEYS  1 meta, 2 the events: see log.lua
-- ARGV  1 events to read at most, 2 epoch of a new log, 3 bytes of a page that has more than one event, or 0 for no
--       events, 4 epoch, 5 offset and 6 tag of the cursor, or nothing
-- Returns the epoch, the last event's id, or 0-0, why the cursor can't be followed, or '', the events, the stamp of the
-- state, or '', and, without a cursor, the position before the last ARGV[1] events, or '' if the page begins there.

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

local function answer (reason, events, start)
  return { epoch, last, reason, events, meta[3] and meta[3] .. '-' .. meta[4] or '', start or '' }
end

local limit, most = tonumber(ARGV[1]), tonumber(ARGV[3])
top = tonumber(top)

if not ARGV[4] then
  local events, more = {}, true
  if most > 0 then events, more = page.read(KEYS[2], top, true, limit, most) end
  if not more or #events == limit then return answer('', events) end
  local first = redis.call('XRANGE', KEYS[2], string.format('%.0f', math.max(0, top - limit + 1)), '+', 'COUNT', 1)[1]
  return answer('', events, first and page.before(first))
end

local offset = tonumber(ARGV[5])
if ARGV[4] ~= epoch then return answer('epoch', {}) end
if offset > top then return answer('ahead', {}) end
if offset == top then return answer(ARGV[5] .. '-' .. ARGV[6] == last and '' or 'diverged', {}) end

local events = page.read(KEYS[2], offset + 1, false, limit, most)
if #events == 0 then return answer('expired', {}) end
local first = page.before(events[1])
if tonumber(string.match(first, '^%d+')) ~= offset then return answer('trimmed', {}) end
if first ~= ARGV[5] .. '-' .. ARGV[6] then return answer('diverged', {}) end
return answer('', events)
