-- Deletes a text and appends an event instead. It begins with state.lua and ends with append.lua.
--
-- KEYS  1 to 3 as append.lua takes them, 4 fields and 5 leases of the state, 6 what append.lua takes as the fourth
-- ARGV  1 to 11 as append.lua takes them, 12 field, 13 its owner, or '' where its lease must have run out, 14 epoch of a new state,
--       15 time to live of the fields in ms, 16 that of leases after a failover
-- Returns what append.lua does, or '', 2 and the epoch of the state where there is no such text.

do
  local fields, leases = table.remove(KEYS, 4), table.remove(KEYS, 4)
  if redis.call('EXISTS', KEYS[3]) == 0 then
    -- Before anything is written: append.lua would find it too late.
    if KEYS[4] and redis.call('EXISTS', KEYS[4]) == 0 then return redis.error_reply('EARLY an event before this one is missing') end
    state.open({ KEYS[1], fields, leases }, { ARGV[1], ARGV[11], ARGV[14], ARGV[15], ARGV[9], ARGV[16] }, true)
    local kind, chunks, _, owner = state.find(ARGV[12])
    if not (kind == 'x' and ARGV[13] == '') and not ((kind == 't' or kind == 'x') and owner == ARGV[13]) then return { '', 2, state.epoch } end
    state.drop(ARGV[12], chunks)
    -- Told before the event, so that whoever knows of the event knows that there is no such text any more.
    state.tell('-', ARGV[12], '')
  end
end

