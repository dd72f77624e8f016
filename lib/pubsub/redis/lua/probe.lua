-- Appends a probe event, and so proves that the Redis user may run every command that the scripts need.
--
-- KEYS[1]  the outcome of this batch: see includes/batch.lua
-- KEYS[2]  meta
-- KEYS[3]  the events
-- KEYS[4]  a hash that does not exist
-- KEYS[5]  a sorted set that does not exist
-- ARGV     those of append.lua
-- Returns the same as append.lua

-- @include includes/refusals
-- @include includes/rights
-- @include includes/append

try_commands(KEYS[3], KEYS[4], KEYS[5])
return append_events()
