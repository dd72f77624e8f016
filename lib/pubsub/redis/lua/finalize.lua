-- Appends an event in the place of a text, then deletes the text.
--
-- KEYS  those of includes/batch.lua and includes/log.lua, between them 2 meta, 3 the events, 4 what the idempotency key was used for,
--       5 fields and 6 leases of the state
-- ARGV  those of includes/batch.lua and includes/log.lua, then 4 Redis channel, 5 tag, 6 payload, 7 field, 8 its owner, or '' where its
--       lease must have run out, 9 epoch of a new state
-- Returns what append.lua does.

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
  -- A script that has written may go on without memory: the end needs less than the text, and a full Redis takes it.
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

-- At the end, since a script that fails is not rolled back: the text is there until its event is. Where it could not be
-- deleted, the next attempt finds it here.
if kind then
  state.drop(ARGV[7], chunks)
  state.publish('-', ARGV[7], '')
end
return { log.trouble, id }
