-- Reads the state of a channel.
--
-- KEYS[1]  meta
-- KEYS[2]  fields
-- KEYS[3]  leases
-- ARGV[1]  Redis channel
-- ARGV[2]  epoch of a new state
-- ARGV[3]  the version that the reader knows
-- Returns the version, or '' if there is no state. Unless the reader knows the version, also each field with its record
--         and its value or header, and the fields whose lease may have run out: by the wall clock, but not by the lease
--         clock, see includes/state.lua. The content of a draft is read with read-draft.lua

-- @include includes/state

if not state.open(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], false) then return { '', {} } end
state.sweep()
local version = state.full_version()
if version == ARGV[3] then return { version } end

local all, values, rows = redis.call('HGETALL', state.fields), {}, {}
for n = 1, #all, 2 do values[all[n]] = all[n + 1] end
for n = 1, #all, 2 do
  local field = string.match(all[n], '^=(.*)$')
  if field then rows[#rows + 1] = { field, all[n + 1], values['0=' .. field] or '' } end
end
return { version, rows, redis.call('ZRANGEBYSCORE', state.leases, '-inf', state.unclamped) }
