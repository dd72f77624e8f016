-- Appends a batch of events to the logs of their channels and broadcasts them, in one step.
--
-- KEYS[1]    the outcome of this batch: see includes/batch.lua
-- KEYS[...]  for each channel its meta and its events, and for each event with a key the id of the event that was
--            published with that key; then the earlier batches: see includes/batch.lua
-- ARGV[1]    epoch of a new log
-- ARGV[2]    the number of earlier batches under way
-- ARGV[3]    the number of batches that were given up
-- ARGV[...]  for each channel its Redis channel, one letter for each event (k: with an idempotency key of the app, r:
--            with the key of a row of an outbox, -: without a key), and for each event its tag and its payload; before
--            these, for a row, the milliseconds to remember its key
-- Returns the error of a failed broadcast, or '', the outcomes, and the error of each event whose outcome is -

-- @include includes/append

return append_events()
