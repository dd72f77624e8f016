-- Appends an event that replaces a text, then deletes the text, in one step.
--
-- KEYS  those of includes/batch.lua; between its first and its last ones: 2 meta, 3 the events, 4 the id of the event
--       that was published with the finalization key, 5 fields and 6 leases of the state
-- ARGV  those of includes/log.lua and includes/batch.lua, then 4 Redis channel, 5 tag, 6 payload, 7 field, 8 its owner,
--       or '' if its lease must have run out, 9 epoch of a new state
-- Returns the same as append.lua

-- @include includes/state
-- @include includes/batch

local meta, stream, key, fields, leases = unpack(KEYS, 2, 6)
state.open(meta, fields, leases, ARGV[4], ARGV[9], true)
local kind, chunks, _, _, owner = state.find(ARGV[7])
local id = redis.call('GET', key)

if not id then
  if not (kind == 'x' and ARGV[8] == '') and not ((kind == 't' or kind == 'x') and owner == ARGV[8]) then
    log.remember(KEYS[1], '!' .. state.epoch, BATCH_TTL)
    return { '', '!' .. state.epoch }
  end
  -- Once a script has run a write command, Redis no longer refuses its writes for lack of memory. PEXPIRE itself is
  -- allowed in a full Redis, and the event needs less memory than the deleted text: finalizing works in a full Redis.
  redis.call('PEXPIRE', fields, STATE_TTL)
  log.open(meta, stream, ARGV[4])
  local refusal
  id, refusal = log.append(ARGV[5], ARGV[6])
  if not id then return refusal end
  log.close()
  log.remember(key, id, FINALIZATION_TTL)
  state.alone = false
end
log.remember(KEYS[1], id, BATCH_TTL)

-- Delete the text last: Redis does not roll back a failed script, so the text must exist until its event does. If the
-- deletion fails, the next attempt finds the text here and deletes it.
if kind then
  state.drop(ARGV[7], chunks)
  state.publish('-', ARGV[7], '')
end
return { log.trouble, id }
