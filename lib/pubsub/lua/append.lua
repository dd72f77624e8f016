-- Appends an event to the log of a channel and broadcasts it, in one step.
--
-- KEYS  1 meta: e epoch, o offset and t tag of the last event, r what the data's history is called where it was written
--       2 the events, as a stream whose ids are <offset>-<tag>
--       3 what an idempotency key was used for
--       4 the same of the publisher's event before this one, while that is under way
-- ARGV  1 Redis channel, 2 payload, 3 tag, 4 tag of a fence, 5 payload of a fence, 6 epoch of a new log,
--       7 events to keep, 8 their time to live, 9 that of meta, 10 that of the idempotency key, all in ms,
--       11 PUBLISH or SPUBLISH
-- Returns the event's id, 1 if it had been appended before, and why it could not be broadcast, if so.

local known = redis.call('GET', KEYS[3])
if known then return { known, 1, '' } end

-- That one did not come through, such as when Redis had forgotten this script and another publisher has brought it back since.
-- The publisher sends both again.
if KEYS[4] and redis.call('EXISTS', KEYS[4]) == 0 then return redis.error_reply('EARLY an event before this one is missing') end

-- New with every restart and every promotion. Not run_id, which a primary that is replaced and comes back has again.
local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local meta = redis.call('HMGET', KEYS[1], 'e', 'o', 't', 'r')
local epoch, offset, tag = meta[1], tonumber(meta[2]), meta[3]
local trouble = ''

-- XADD comes before the counter is written: a script that fails is not rolled back.
local function append (kind, new, payload)
  offset = offset + 1
  local at = string.format('%.0f', offset)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[7], at .. '-' .. new, 'k', kind, 'p', tag, 'd', payload)
  redis.call('HSET', KEYS[1], 'e', epoch, 'o', at, 't', new, 'r', history)
  -- It is in the log by now: who does not hear of it will find it there.
  local told = redis.pcall(ARGV[11], ARGV[1], table.concat({ '1', epoch, at, new, tag, kind, payload }, ' '))
  if type(told) == 'table' and told.err then trouble = told.err end
  tag = new
  return epoch .. '-' .. at .. '-' .. new
end

if not epoch then
  epoch, offset, tag = ARGV[6], 0, '0'
  -- A script that has written may go on without memory, so that nothing is deleted that is not there.
  if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('DEL', KEYS[2]) end
elseif meta[4] ~= history then
  -- It was written elsewhere or before, and more may have been than is known here: who follows has to be told.
  append('f', ARGV[4], ARGV[5])
end

local id = append('d', ARGV[3], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[8])
redis.call('PEXPIRE', KEYS[1], ARGV[9])
redis.call('SET', KEYS[3], id, 'PX', ARGV[10])
return { id, 0, trouble }
