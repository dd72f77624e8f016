-- Appends an event to the log of a channel and broadcasts it, in one step. It begins with history.lua.
--
-- KEYS  1 meta: e epoch, o offset and t tag of the last event, r what the data's history is called where it was written,
--       <publisher number of its last event
--       2 the events, as a stream whose ids are <offset>-<tag>
--       3 what the idempotency key was used for, if there is one
-- ARGV  1 Redis channel, 2 payload, 3 tag, 4 epoch of a new log, 5 publisher, 6 number of the event: those of a publisher grow, by a million
--       a second at least, 7 number of its event before this one, while that is under way, or 0
-- Returns the event's id, 1 if it had been appended before with its key, and why it could not be broadcast, if so.

local known = KEYS[3] and redis.call('GET', KEYS[3])
local meta = redis.call('HMGET', KEYS[1], 'e', 'o', 't', 'r', '<' .. ARGV[5])
local epoch, offset, tag, last, number = meta[1], tonumber(meta[2]), meta[3], tonumber(meta[5] or 0), tonumber(ARGV[6])

if known then
  if epoch then redis.call('HSET', KEYS[1], '<' .. ARGV[5], ARGV[6]) end
  return { known, 1, '' }
end

-- Sent before, and the reply was lost. It is among the last ones, if it was not trimmed since.
if last >= number then
  while true do
    local events = redis.call('XREVRANGE', KEYS[2], string.format('%.0f', offset), '-', 'COUNT', 100)
    if #events == 0 then return { '', 0, '' } end
    for _, event in ipairs(events) do
      local at, its = string.match(event[1], '^(%d+)%-(%d+)$')
      if its == ARGV[3] then return { epoch .. '-' .. event[1], 0, '' } end
      offset = at - 1
    end
  end
end

-- That one did not come through, such as when Redis had forgotten this script and another publisher has brought it back since.
-- The publisher sends both again.
if last < tonumber(ARGV[7]) then return redis.error_reply('EARLY an event before this one is missing') end

-- New here, it clears away those that are gone: who is silent for a day has nothing under way.
if epoch and last == 0 then
  local fields = redis.call('HGETALL', KEYS[1])
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 1) == '<' and tonumber(fields[i + 1]) < number - 86400e6 then redis.call('HDEL', KEYS[1], fields[i]) end
  end
end

local now = history()
local trouble = ''

-- XADD comes before the counter is written: a script that fails is not rolled back.
local function append (kind, new, payload, count)
  offset = offset + 1
  local at = string.format('%.0f', offset)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', SIZE, at .. '-' .. new, 'k', kind, 'p', tag, 'd', payload)
  redis.call('HSET', KEYS[1], 'e', epoch, 'o', at, 't', new, 'r', now, '<' .. ARGV[5], count)
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
  append('f', string.format('%.0f', 2 ^ 47 - ARGV[3]), string.match(ARGV[2], '^%S+ %S+ ') .. 'fence {}', last)
end

local id = append('d', ARGV[3], ARGV[2], ARGV[6])
redis.call('PEXPIRE', KEYS[2], LOG_TTL)
redis.call('PEXPIRE', KEYS[1], META_TTL)
if KEYS[3] then redis.call('SET', KEYS[3], id, 'PX', KEY_TTL) end
return { id, 0, trouble }
