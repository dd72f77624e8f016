-- Appends a discontinuity marker to the log of a channel and broadcasts it, if the log was written under another
-- replication id.
--
-- KEYS[1]  meta
-- KEYS[2]  the events
-- ARGV[1]  epoch of a new log
-- ARGV[2]  Redis channel
-- ARGV[3]  tag of the marker
-- ARGV[4]  the first two words of its payload
-- Returns nothing, or the error

-- @include includes/log

local refusal = log.open(KEYS[1], KEYS[2], ARGV[2]) or log.severed and log.mark(ARGV[3], ARGV[4])
if refusal then return refusal end
log.close()
