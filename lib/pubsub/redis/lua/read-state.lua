-- Reads the state of a channel.
--
-- KEYS[1]  meta
-- KEYS[2]  fields
-- KEYS[3]  leases
-- ARGV[1]  Redis channel
-- ARGV[2]  epoch of a new state
-- ARGV[3]  the version that the reader knows
-- Returns the version, or '' if there is no state. Unless the reader knows the version, also the hash of the fields,
-- and the fields whose lease may have run out: by the wall clock, but not by the lease clock (see includes/state.lua)

-- @include includes/state

if not state.open(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], false) then return { '', {} } end
state.sweep()
local version = state.full_version()
if version == ARGV[3] then return { version } end
return {
  version,
  redis.call('HGETALL', state.fields),
  redis.call('ZRANGEBYSCORE', state.leases, '-inf', state.unclamped)
}
