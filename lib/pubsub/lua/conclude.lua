-- Deletes a text and appends an event instead. It begins with state.lua, log.lua and batch.lua.
--
-- KEYS  those of batch.lua and log.lua, between them 2 meta, 3 the events, 4 what the idempotency key was used for, 5 fields and 6 leases of the state
-- ARGV  those of batch.lua and log.lua, then 3 Redis channel, 4 tag, 5 payload, 6 field, 7 its owner, or '' where its lease must have run out, 8 epoch of a new state
-- Returns what append.lua does.

local meta, stream, key, fields, leases = unpack(KEYS, 2, 6)
local known = redis.call('GET', key)
if known then
  log.remember(KEYS[1], known, BATCH_TTL)
  return { '', known }
end

state.open(meta, fields, leases, ARGV[3], ARGV[8], true)
local kind, chunks, _, owner = state.find(ARGV[6])
if not (kind == 'x' and ARGV[7] == '') and not ((kind == 't' or kind == 'x') and owner == ARGV[7]) then
  log.remember(KEYS[1], '!' .. state.epoch, BATCH_TTL)
  return { '', '!' .. state.epoch }
end
state.drop(ARGV[6], chunks)
-- Told before the event, so that whoever knows of the event knows that there is no such text any more.
state.tell('-', ARGV[6], '')

log.open(meta, stream, ARGV[3])
local id, refusal = log.append(ARGV[4], ARGV[5])
if not id then return refusal end
log.close()
log.remember(key, id, KEY_TTL)
log.remember(KEYS[1], id, BATCH_TTL)
return { log.trouble, id }
