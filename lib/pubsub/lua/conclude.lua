-- Deletes a text and appends an event instead. It begins with state.lua and ends with append.lua.
--
-- KEYS  1 to 3 as append.lua takes them, 4 fields and 5 leases of the state, 6 and on what append.lua takes from 4 on
-- ARGV  1 to 4 as append.lua takes them, 5 field, 6 its owner, or '' where its lease must have run out, 7 epoch of a new state
-- Returns what append.lua does, or '', 2 and the epoch of the state where there is no such text.

do
  local fields, leases = table.remove(KEYS, 4), table.remove(KEYS, 4)
  if redis.call('EXISTS', KEYS[3]) == 0 then
    -- Before anything is written: append.lua would find it too late.
    if KEYS[4] and redis.call('EXISTS', unpack(KEYS, 4)) < #KEYS - 3 then return redis.error_reply('EARLY an event before this one is missing') end
    state.open(KEYS[1], fields, leases, ARGV[1], ARGV[7], true)
    local kind, chunks, _, owner = state.find(ARGV[5])
    if not (kind == 'x' and ARGV[6] == '') and not ((kind == 't' or kind == 'x') and owner == ARGV[6]) then return { '', 2, state.epoch } end
    state.drop(ARGV[5], chunks)
    -- Told before the event, so that whoever knows of the event knows that there is no such text any more.
    state.tell('-', ARGV[5], '')
  end
end
