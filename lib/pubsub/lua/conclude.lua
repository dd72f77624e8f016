-- Deletes a text and appends an event instead. It begins with state.lua, log.lua and batch.lua.
--
-- KEYS  those of batch.lua and log.lua, between them 2 meta, 3 the events, 4 what the idempotency key was used for, 5 fields and 6 leases of the state
-- ARGV  those of batch.lua and log.lua, then 4 Redis channel, 5 tag, 6 payload, 7 field, 8 its owner, or '' where its lease must
--       have run out, 9 epoch of a new state
-- Returns what append.lua does.

local meta, stream, key, fields, leases = unpack(KEYS, 2, 6)
local known = redis.call('GET', key)
if known then
  log.remember(KEYS[1], known, BATCH_TTL)
  return { '', known }
end

state.open(meta, fields, leases, ARGV[4], ARGV[9], true)
local kind, chunks, _, owner = state.find(ARGV[7])
if not (kind == 'x' and ARGV[8] == '') and not ((kind == 't' or kind == 'x') and owner == ARGV[8]) then
  log.remember(KEYS[1], '!' .. state.epoch, BATCH_TTL)
  return { '', '!' .. state.epoch }
end
state.drop(ARGV[7], chunks)
-- Told before the event, so that whoever knows of the event knows that there is no such text any more.
state.tell('-', ARGV[7], '')

log.open(meta, stream, ARGV[4])
local id, refusal = log.append(ARGV[5], ARGV[6])
if not id then return refusal end
log.close()
log.remember(key, id, CONCLUSION_TTL)
log.remember(KEYS[1], id, BATCH_TTL)
return { log.trouble, id }
