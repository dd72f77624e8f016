-- What the scripts share that append a batch of events.
--
-- KEYS  1 what the batch is remembered by: the outcome of each event, which is its id, - if it was refused, or ! and the epoch of the state where
--         there is no such text to finalize
--       the last ones: the same of the publisher's batches before it, on its channels, while they are under way; and of those
--       that it gave up as unknown
-- ARGV  2 how many batches before it, 3 how many that were given up

-- @include includes/log

local before, given_up = tonumber(ARGV[2]), tonumber(ARGV[3])
-- One of them did not come through, such as when Redis had forgotten this script and another publisher has brought it back since.
-- The publisher sends both again. First of all: what is answered to this one tells of those before it.
if before > 0 and redis.call('EXISTS', unpack(KEYS, #KEYS - given_up - before + 1, #KEYS - given_up)) < before then
  return redis.error_reply('EARLY an event before this one is missing')
end

local done = redis.call('GET', KEYS[1])
if done == GIVEN_UP then return redis.error_reply('GIVENUP its publisher has published later ones since') end
if done then return { '', done } end

-- One that comes late, such as out of the buffer of a proxy, finds its name taken, and appends nothing.
for n = #KEYS - given_up + 1, #KEYS do
  local taken = redis.pcall('SET', KEYS[n], GIVEN_UP, 'NX', 'PX', BATCH_TTL)
  if type(taken) == 'table' and taken.err then return taken end
end

-- Where nothing was written, as of a duplicate, it may fail without memory: then the next batch says EARLY, and comes again.
function log.remember (key, what, ttl)
  local set = log.written and redis.call or redis.pcall
  set('SET', key, what, 'PX', ttl)
end
