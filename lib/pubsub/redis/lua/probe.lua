-- Appends a probe, and proves on the way that every command that the scripts need may be run. KEYS, ARGV and what it
-- returns are those of append.lua; the last two KEYS are a hash and a sorted set.

-- @include includes/refusals
-- @include includes/batch
-- @include includes/rights
-- @include append
