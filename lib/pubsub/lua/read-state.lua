-- Reads the state of a channel. It begins with state.lua.
--
-- KEYS  1 meta, 2 fields, 3 leases
-- ARGV  1 to 6 as state.open takes them, 7 the stamp that the reader knows
-- Returns the stamp, or '' where there is no state, and the hash of the fields, unless the stamp is known.

if not state.open(KEYS, ARGV, false) then return { '', {} } end
state.sweep()
local stamp = state.stamp()
if stamp == ARGV[7] then return { stamp } end
return { stamp, redis.call('HGETALL', state.fields) }
