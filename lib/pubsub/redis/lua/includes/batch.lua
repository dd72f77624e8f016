-- Shared by the scripts that append a batch of events.
--
-- KEYS[1]  the outcome of this batch, which consists of one word for each event: its id, - if it was refused, or ! and
--          the epoch of the state if there is no such draft to finalize
-- The last KEYS are the outcomes of the publisher's earlier batches on these channels, first of those that are still
-- under way, then of those that it gave up with an unknown outcome.
-- ARGV[2]  the number of earlier batches under way
-- ARGV[3]  the number of batches that were given up

-- @include includes/log

local batch = {}

-- Begins the batch. Returns the reply if it must not be executed, otherwise nothing.
function batch.begin ()
  local before, given_up = tonumber(ARGV[2]), tonumber(ARGV[3])
  -- An earlier batch was not executed, for example because Redis had forgotten the script and another publisher has
  -- loaded it again since. The publisher then sends both batches again. This check comes first, so that any other reply
  -- to this batch proves that the earlier ones were executed.
  if before > 0 and redis.call('EXISTS', unpack(KEYS, #KEYS - given_up - before + 1, #KEYS - given_up)) < before then
    return redis.error_reply('EARLY an event before this one is missing')
  end

  local done = redis.call('GET', KEYS[1])
  if done == GIVEN_UP then return redis.error_reply('GIVENUP its publisher has published later ones since') end
  if done then return { '', done } end

  -- Mark the batches that were given up. If one of them arrives late, for example from the buffer of a proxy, it finds
  -- the mark and appends nothing.
  for n = #KEYS - given_up + 1, #KEYS do
    local taken = redis.pcall('SET', KEYS[n], GIVEN_UP, 'NX', 'PX', BATCH_TTL)
    if type(taken) == 'table' and taken.err then return taken end
  end
end

-- Stores an outcome or an id for `ttl` milliseconds. If the script has not written before, for example because all
-- events were duplicates, SET may fail for lack of memory. Then the next batch gets EARLY and is sent again.
function log.remember (key, what, ttl)
  local set = log.written and redis.call or redis.pcall
  set('SET', key, what, 'PX', ttl)
end
