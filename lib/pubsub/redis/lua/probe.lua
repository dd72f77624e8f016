-- Appends a probe event, and so proves that the Redis user may run every command that the scripts need.
--
-- KEYS  those of append.lua, and at the end a hash and a sorted set
-- ARGV  those of append.lua
-- Returns the same as append.lua

-- @include includes/refusals
-- @include includes/batch
-- @include includes/rights
-- @include append
