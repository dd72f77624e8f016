-- Changes the state of a channel and broadcasts the change, in one step.
--
-- KEYS[1]    meta
-- KEYS[2]    fields
-- KEYS[3]    leases
-- KEYS[4]    the id of the event that was published with the finalization key of the draft
-- KEYS[5]    the content that the field has if it is a draft: see includes/draft.lua
-- KEYS[...]  for ~ the content of each further field
-- ARGV[1]    Redis channel
-- ARGV[2]    epoch of a new state
-- ARGV[3]    operation: = sets a value, o opens a draft, + appends to it, - deletes, ~ renews
-- ARGV[4]    lease in ms
-- ARGV[5]    field
-- ARGV[6]    the value, the header of the draft, or the piece to append
-- ARGV[7]    owner
-- ARGV[8]    for + the length that the draft must have
-- ARGV[9]    for + the length with the piece
-- ARGV[...]  for ~ the fields, from 5 on
-- Returns the outcome, the epoch, the length of the draft, and the fields that could not be renewed

-- @include includes/state
-- @include includes/draft

state.open(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], true)
local operation, lease, field, value, owner = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]

local function write (kind)
  redis.call('HSET', state.fields, '0=' .. field, value)
  state.put(field, kind, 0, 0, lease, owner)
  state.lease(field, lease)
  state.publish(operation, field, value)
end

local act = {}

act['='] = function ()
  local kind = state.find(field)
  if kind == 'v' and redis.call('HGET', state.fields, '0=' .. field) == value then
    state.lease(field, lease)
  else
    write('v')
    if kind == 'd' or kind == 'x' then
      draft.delete(KEYS[5])
      state.forget(field)
    end
  end
  return 'done', 0
end

act['o'] = function ()
  if redis.call('EXISTS', KEYS[4]) == 1 then return 'over', 0 end
  local kind, length, _, _, other = state.find(field)
  if kind and (kind == 'v' or other ~= owner) then return 'taken', 0 end
  if kind == 'x' then return 'gone', 0 end
  -- A draft that was restored may lack its header. One that has it was opened by an earlier request.
  if kind and redis.call('HGET', state.fields, '0=' .. field) then
    state.lease(field, lease)
    return 'done', length
  end
  write('d')
  return 'done', 0
end

act['+'] = function ()
  local kind, length, bytes, _, other = state.find(field)
  if kind ~= 'd' or other ~= owner then return 'gone', 0 end
  -- The content can be evicted or deleted on its own. Its owner then writes it again. The version stays: a replica that
  -- has the lost content notices the loss by the position of the next piece.
  if length > 0 and redis.call('EXISTS', KEYS[5]) == 0 then
    length, bytes = 0, 0
    state.put(field, 'd', 0, 0, lease, owner)
  end
  local at, last = tonumber(ARGV[8]), tonumber(ARGV[9])
  if length ~= at and length ~= last then return 'behind', length end
  state.lease(field, lease)
  -- If the draft already has the length with this piece, the request was applied before and its reply was lost.
  if length == last then return 'done', length end
  draft.append(KEYS[5], ARGV[8], ARGV[9], value)
  state.put(field, 'd', last, bytes + #value, lease, owner)
  state.publish('+', field, ARGV[8] .. ' ' .. ARGV[9] .. ' ' .. value)
  return 'done', last
end

act['-'] = function ()
  if not state.find(field) then return 'gone', 0 end
  state.drop(field)
  draft.delete(KEYS[5])
  state.publish('-', field, '')
  return 'done', 0
end

local gone = {}

act['~'] = function ()
  for n = 5, #ARGV do
    local kind = state.find(ARGV[n])
    if kind == 'v' or kind == 'd' then state.lease(ARGV[n], lease) else gone[#gone + 1] = ARGV[n] end
    if kind == 'd' then redis.call('PEXPIRE', KEYS[n], STATE_TTL) end
  end
  return 'done', 0
end

local outcome, length = act[operation]()
-- Sweep after the operation: a lease that is renewed late is kept as long as its expiry was not broadcast.
state.sweep()
return { outcome, state.epoch, length, gone }
