-- Appends an event to the log of a channel and broadcasts it, in one step. It begins with history.lua.
--
-- KEYS  1 meta: e epoch, o offset and t tag of the last event, r what the data's history is called where it was written
--       2 the events, as a stream whose ids are <offset>-<tag>
--       3 what an idempotency key was used for
--       4 and on the same of the publisher's events before this one, while they are under way: the last one whose key nobody else
--         uses, and those after it
-- ARGV  1 Redis channel, 2 payload, 3 tag, 4 epoch of a new log
-- Returns the event's id, 1 if it had been appended before, and why it could not be broadcast, if so.
--
-- Constants: see redis-script.ts.

-- One of them did not come through, such as when Redis had forgotten this script and another publisher has brought it back since.
-- The publisher sends both again. First of all: what is answered to this one tells of those before it.
if KEYS[4] and redis.call('EXISTS', unpack(KEYS, 4)) < #KEYS - 3 then return redis.error_reply('EARLY an event before this one is missing') end

local known = redis.call('GET', KEYS[3])
if known then return { known, 1, '' } end

local now = history()
local meta = redis.call('HMGET', KEYS[1], 'e', 'o', 't', 'r')
local epoch, offset, tag = meta[1], tonumber(meta[2]), meta[3]
local trouble = ''

-- XADD comes before the counter is written: a script that fails is not rolled back.
local function append (kind, new, payload)
  offset = offset + 1
  local at = string.format('%.0f', offset)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', SIZE, at .. '-' .. new, 'k', kind, 'p', tag, 'd', payload)
  redis.call('HSET', KEYS[1], 'e', epoch, 'o', at, 't', new, 'r', now)
  -- It is in the log by now: who does not hear of it will find it there.
  local told = redis.pcall(PUBLISH, ARGV[1], table.concat({ '1', epoch, at, new, tag, kind, payload }, ' '))
  if type(told) == 'table' and told.err then trouble = told.err end
  tag = new
  return epoch .. '-' .. at .. '-' .. new
end

if not epoch then
  epoch, offset, tag = ARGV[4], 0, '0'
  -- A script that has written may go on without memory, so that nothing is deleted that is not there.
  if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('DEL', KEYS[2]) end
elseif meta[4] ~= now then
  -- It was written elsewhere or before, and more may have been than is known here: who follows has to be told.
  -- Its tag is as random as that of the event, of which it is the complement.
  append('f', string.format('%.0f', 2 ^ 47 - ARGV[3]), string.match(ARGV[2], '^%S+ %S+ ') .. 'fence {}')
end

local id = append('d', ARGV[3], ARGV[2])
redis.call('PEXPIRE', KEYS[2], LOG_TTL)
redis.call('PEXPIRE', KEYS[1], META_TTL)
redis.call('SET', KEYS[3], id, 'PX', KEY_TTL)
return { id, 0, trouble }
