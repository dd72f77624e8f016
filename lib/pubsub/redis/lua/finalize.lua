-- Appends an event that replaces a draft, then deletes the draft, in one step.
--
-- KEYS[1]    the outcome of this batch: see includes/batch.lua
-- KEYS[2]    meta
-- KEYS[3]    the events
-- KEYS[4]    the id of the event that was published with the finalization key
-- KEYS[5]    fields of the state
-- KEYS[6]    leases of the state
-- KEYS[7]    the content of the draft: see includes/draft.lua
-- KEYS[...]  the earlier batches: see includes/batch.lua
-- ARGV[1]    epoch of a new log
-- ARGV[2]    the number of earlier batches under way
-- ARGV[3]    the number of batches that were given up
-- ARGV[4]    Redis channel
-- ARGV[5]    tag
-- ARGV[6]    payload
-- ARGV[7]    field
-- ARGV[8]    owner of the field, or '' if its lease must have run out
-- ARGV[9]    epoch of a new state
-- ARGV[10]   1 to keep the content as long as the event, 0 to delete it
-- Returns the same as append.lua

-- @include includes/state
-- @include includes/draft
-- @include includes/batch

local reply = batch.begin()
if reply then return reply end

local meta, stream, key, fields, leases, content = unpack(KEYS, 2, 7)
state.open(meta, fields, leases, ARGV[4], ARGV[9], true)
local kind, _, _, _, owner = state.find(ARGV[7])
local id = redis.call('GET', key)

if not id then
  -- Without an owner, the lease must have expired. The owner may finalize its own draft even after that.
  if not (kind == 'x' and ARGV[8] == '') and not ((kind == 'd' or kind == 'x') and owner == ARGV[8]) then
    log.remember(KEYS[1], '!' .. state.epoch, BATCH_TTL)
    return { '', '!' .. state.epoch }
  end
  -- Finalizing must work in a full Redis. PEXPIRE is allowed there, and after a write command Redis no longer refuses
  -- the writes of a script for lack of memory. The event needs less memory than the draft, which is deleted.
  redis.call('PEXPIRE', fields, STATE_TTL)
  log.open(meta, stream, ARGV[4])
  local refusal
  id, refusal = log.append(ARGV[5], ARGV[6])
  if not id then return refusal end
  log.close()
  log.remember(key, id, FINALIZATION_TTL)
  -- The log has an event now, so meta must live as long as the log.
  state.alone = false
end
log.remember(KEYS[1], id, BATCH_TTL)

-- Delete the draft last: Redis does not roll back a failed script, so the draft must exist until its event does. If the
-- deletion fails, the next attempt finds the draft here and deletes it.
if kind then
  draft.finalize(content, ARGV[10] == '1')
  state.drop(ARGV[7])
  state.publish('-', ARGV[7], '')
end
return { log.trouble, id }
