-- Changes the state of a channel and broadcasts the change, in one step.
--
-- KEYS[1]    meta
-- KEYS[2]    fields
-- KEYS[3]    leases
-- KEYS[4]    the id of the event that was published with the text's finalization key
-- ARGV[1]    Redis channel
-- ARGV[2]    epoch of a new state
-- ARGV[3]    operation: = sets a value, o opens a text, + appends to it, - deletes, ~ renews
-- ARGV[4]    lease in ms
-- ARGV[5]    field
-- ARGV[6]    value
-- ARGV[7]    owner
-- ARGV[8]    bytes that the text must have
-- ARGV[...]  for ~ the fields, from 5 on
-- Returns the outcome, the epoch, and the fields that could not be renewed

-- @include includes/state

state.open(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], true)
local operation, lease, field, value, owner = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]

local function write (kind, chunks)
  -- After the first write command of a script, even one that changes nothing, Redis no longer refuses its writes for
  -- lack of memory. So delete only what exists: a full Redis must still refuse new data.
  if chunks then state.drop(field, chunks) end
  redis.call('HSET', state.fields, '0=' .. field, value)
  state.put(field, kind, 1, #value, lease, owner)
  state.lease(field, lease)
  state.publish(operation, field, value)
  return 'done'
end

local act = {}

act['='] = function ()
  local kind, chunks = state.find(field)
  if kind ~= 'v' or redis.call('HGET', state.fields, '0=' .. field) ~= value then return write('v', chunks) end
  state.lease(field, lease)
  return 'done'
end

act['o'] = function ()
  if redis.call('EXISTS', KEYS[4]) == 1 then return 'over' end
  local kind, chunks, bytes, _, other = state.find(field)
  if kind and other ~= owner then return 'taken' end
  if kind == 'x' then return 'gone' end
  -- The request was sent before and its reply was lost. Texts only grow: a shorter text has arrived late.
  if kind and bytes >= #value then return 'done' end
  return write('t', chunks)
end

act['+'] = function ()
  local kind, chunks, bytes, _, other = state.find(field)
  if kind ~= 't' or other ~= owner then return 'gone' end
  local at = tonumber(ARGV[8])
  if bytes == at then
    redis.call('HSET', state.fields, chunks .. '=' .. field, value)
    state.put(field, 't', chunks + 1, bytes + #value, lease, owner)
    state.lease(field, lease)
    state.publish('+', field, value)
  -- If the text is already longer by this piece, the request was applied before and its reply was lost.
  elseif bytes ~= at + #value then
    return 'behind'
  end
  return 'done'
end

act['-'] = function ()
  local kind, chunks = state.find(field)
  if not kind then return 'gone' end
  state.drop(field, chunks)
  state.publish('-', field, '')
  return 'done'
end

local gone = {}

act['~'] = function ()
  for n = 5, #ARGV do
    local kind = state.find(ARGV[n])
    if kind == 'v' or kind == 't' then state.lease(ARGV[n], lease) else gone[#gone + 1] = ARGV[n] end
  end
  return 'done'
end

local outcome = act[operation]()
-- Sweep after the operation: a lease that is renewed late is kept as long as its expiry was not broadcast.
state.sweep()
return { outcome, state.epoch, gone }
