-- What the scripts share that append a batch of events. It begins with log.lua.
--
-- KEYS  1 what the batch is remembered by: the outcome of each event, which is its id, - if it was refused, or ! and the epoch of the state where
--         there is no such text to conclude
--       the last ones: the same of the publisher's batches before it, on its channels, while they are under way
-- ARGV  2 how many batches before it

local before = tonumber(ARGV[2])
-- One of them did not come through, such as when Redis had forgotten this script and another publisher has brought it back since.
-- The publisher sends both again. First of all: what is answered to this one tells of those before it.
if before > 0 and redis.call('EXISTS', unpack(KEYS, #KEYS - before + 1)) < before then return redis.error_reply('EARLY an event before this one is missing') end

local done = redis.call('GET', KEYS[1])
if done then return { '', done } end

-- Where nothing was written, as of a duplicate, it may fail without memory: then the next batch says EARLY, and comes again.
function log.remember (key, what, ttl)
  local set = log.written and redis.call or redis.pcall
  set('SET', key, what, 'PX', ttl)
end
