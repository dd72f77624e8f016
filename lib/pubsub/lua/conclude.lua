-- Deletes a text and appends an event instead. It begins with state.lua and ends with append.lua.
--
-- KEYS  1 to 3 as append.lua takes them, 4 fields and 5 leases of the state
-- ARGV  1 to 7 as append.lua takes them, 8 field, 9 its owner, or '' where its lease must have run out, 10 epoch of a new state
-- Returns what append.lua does, or '', 2 and the epoch of the state where there is no such text.

do
  local last = tonumber(redis.call('HGET', KEYS[1], '<' .. ARGV[5]) or 0)
  if redis.call('EXISTS', KEYS[3]) == 0 and last < tonumber(ARGV[6]) then
    -- Before anything is written: append.lua would find it too late.
    if last < tonumber(ARGV[7]) then return redis.error_reply('EARLY an event before this one is missing') end
    state.open(KEYS[1], KEYS[4], KEYS[5], ARGV[1], ARGV[10], true)
    local kind, chunks, _, owner = state.find(ARGV[8])
    if not (kind == 'x' and ARGV[9] == '') and not ((kind == 't' or kind == 'x') and owner == ARGV[9]) then return { '', 2, state.epoch } end
    state.drop(ARGV[8], chunks)
    -- Told before the event, so that whoever knows of the event knows that there is no such text any more.
    state.tell('-', ARGV[8], '')
  end
end
