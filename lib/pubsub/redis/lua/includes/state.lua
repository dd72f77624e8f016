-- Shared by the scripts that access the state of a channel.
--
-- Fields of meta:
--   se         the epoch of the state
--   sv         its version
--   sr         the replication id at its last change
--   sc         the lease clock in milliseconds
--   st         the wall clock at that time
--   d=<field>  for each draft: its <lease> <owner>
-- If the fields lack a draft that meta names, the draft was lost. It is then restored without its content, since
-- otherwise it would never be finalized. If meta was lost, the state is recognized by its fields.
--
-- The fields are a hash. A field has a record, =<field>: <kind> <length> <bytes> <lease> <owner>, and a value or the
-- header of a draft, 0=<field>. Kinds: v a value, d a draft, x a draft whose lease has run out. <length> and <bytes>
-- are those of the content of a draft: see draft.lua. <lease> is the length of the lease in milliseconds, which also
-- applies when leases restart.
-- The leases are a sorted set: the time by the lease clock at which each field expires.
--
-- Constants: see scripts.ts.

-- @include includes/replication-id

local state = {}

-- Advances the lease clock. The wall clock of Redis can step, so between two accesses to the state the lease clock
-- advances by at most LEASE_STEP ms, and not at all if the wall clock went back. An instance that follows the chat
-- accesses the state more often than that.
function state.tick (clock, at)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local elapsed = now - (tonumber(at) or now)
  state.now = (tonumber(clock) or now) + math.max(0, math.min(elapsed, LEASE_STEP))
  -- The time without that limit; later than `state.now` only if more than LEASE_STEP ms have passed.
  state.unclamped = state.now + elapsed - LEASE_STEP
  state.ticked = { sc = string.format('%.0f', state.now), st = string.format('%.0f', now) }
  -- Most reads should write nothing, so the clock is not stored on each access. This may fail for lack of memory. Then
  -- leases last longer.
  if clock and (elapsed < 0 or elapsed >= 500) then
    redis.pcall('HSET', state.meta, 'sc', state.ticked.sc, 'st', state.ticked.st)
  end
end

-- Restarts all leases, and names all drafts in meta.
local function restore_leases ()
  local all = redis.call('HGETALL', state.fields)
  for n = 1, #all, 2 do
    local field = string.match(all[n], '^=(.*)$')
    local kind, _, _, lease, owner = nil
    if field then kind, _, _, lease, owner = state.find(field) end
    if kind == 'v' or kind == 'd' then
      -- This may fail for lack of memory. The next access then tries again.
      redis.pcall('ZADD', state.leases, state.now + math.max(lease, FAILOVER_LEASE), field)
    end
    if kind == 'd' or kind == 'x' then state.name(field, lease, owner) end
  end
  redis.pcall('PEXPIRE', state.leases, STATE_TTL)
end

-- Starts a new epoch, since changes that other instances have seen may be missing. Restarts all leases, since none
-- could be renewed meanwhile.
local function begin_anew (new)
  -- `find` restores each lost draft. If that fails for lack of memory, a reader sees the old version and tries again.
  for field in pairs(state.drafts) do if not state.find(field) then return end end
  state.epoch, state.version = new, 1
  restore_leases()
  state.keep()
end

-- Opens the state of a channel. `new` is the epoch of a new state, which is started if there is none and `create` is
-- true. Returns whether there is a state.
function state.open (meta, fields, leases, channel, new, create)
  state.meta, state.fields, state.leases, state.channel = meta, fields, leases, channel
  -- Reads must work even while Redis refuses writes.
  state.write = create and redis.call or redis.pcall
  state.drafts = {}
  local known, all = {}, redis.call('HGETALL', meta)
  for n = 1, #all, 2 do
    local field = string.match(all[n], '^d=(.*)$')
    if field then state.drafts[field] = all[n + 1] else known[all[n]] = all[n + 1] end
  end
  -- Whether there is no log with events: see keep_meta.
  state.alone = not known.l or known.l == '0-0'
  local found = redis.call('EXISTS', fields) == 1
  local lost = not found and next(state.drafts) ~= nil
  if not known.se and not found and not create then return false end
  state.tick(known.sc, known.st)
  state.epoch, state.version, state.replication_id = known.se or new, tonumber(known.sv) or 0, replication_id()
  if lost or found and not known.se or known.se and known.sr ~= state.replication_id then
    begin_anew(new)
  elseif not known.se then
    -- After the first write command of a script, even a DEL of a missing key, Redis no longer refuses its writes for
    -- lack of memory. So delete only what exists: a full Redis must still refuse new data.
    if redis.call('EXISTS', leases) == 1 then redis.call('DEL', leases) end
  elseif found and redis.call('EXISTS', leases) == 0 then
    -- The key of the leases can be evicted or deleted on its own. Without leases no field would ever expire.
    restore_leases()
  end
  return true
end

function state.full_version () return state.epoch .. '-' .. string.format('%.0f', state.version) end

-- Writes the version into meta and renews the expiry of all keys.
function state.keep ()
  redis.call(
    'HSET', state.meta,
    'se', state.epoch,
    'sv', string.format('%.0f', state.version),
    'sr', state.replication_id
  )
  if not state.clocked then redis.call('HSET', state.meta, 'sc', state.ticked.sc, 'st', state.ticked.st) end
  state.clocked = true
  state.keep_meta()
  redis.call('PEXPIRE', state.fields, STATE_TTL)
  redis.call('PEXPIRE', state.leases, STATE_TTL)
end

-- If the log has events, meta lives as long as the log. Otherwise it lives as long as the fields, or, if there are
-- none, for EMPTY_TTL.
function state.keep_meta ()
  local ttl = META_TTL
  if state.alone then
    local open = next(state.drafts) or redis.call('EXISTS', state.fields) == 1
    ttl = open and STATE_TTL or EMPTY_TTL
  end
  redis.call('PEXPIRE', state.meta, ttl)
end

function state.publish (operation, field, value)
  state.version = state.version + 1
  state.keep()
  -- An instance that misses the broadcast notices it by the version of the next change, or when it polls the version.
  redis.pcall(
    PUBLISH,
    state.channel,
    table.concat(
      { '1', state.epoch, string.format('%.0f', state.version), '-', '-', 's', operation, field, value },
      ' '
    )
  )
end

-- Restores the record of a lost draft, without header and content: its owner writes them again. Returns the record, or
-- false if Redis refuses.
local function put_back (field)
  local record = 'd 0 0 ' .. state.drafts[field]
  return type(state.write('HSET', state.fields, '=' .. field, record)) == 'number' and record
end

-- Returns kind, length, bytes, lease and owner of a field, or nothing if there is no such field.
function state.find (field)
  local record = redis.call('HGET', state.fields, '=' .. field) or state.drafts[field] and put_back(field)
  local kind, length, bytes, lease, owner = string.match(record or '', '^(%a) (%d+) (%d+) (%d+) (.*)$')
  return kind, tonumber(length), tonumber(bytes), lease, owner
end

function state.put (field, kind, length, bytes, lease, owner)
  local record = string.format('%s %.0f %.0f %s %s', kind, length, bytes, lease, owner)
  redis.call('HSET', state.fields, '=' .. field, record)
  if kind ~= 'v' then state.name(field, lease, owner) end
end

-- Names a draft in meta, so that it can be restored if the fields are lost.
function state.name (field, lease, owner)
  local entry = lease .. ' ' .. owner
  if state.drafts[field] == entry then return end
  state.write('HSET', state.meta, 'd=' .. field, entry)
  state.drafts[field] = entry
end

function state.lease (field, ms)
  redis.call('ZADD', state.leases, state.now + ms, field)
  if state.alone then state.keep_meta() end
  redis.call('PEXPIRE', state.fields, STATE_TTL)
  redis.call('PEXPIRE', state.leases, STATE_TTL)
end

-- Deletes a field, but not the content of a draft.
function state.drop (field)
  redis.call('HDEL', state.fields, '0=' .. field, '=' .. field)
  redis.call('ZREM', state.leases, field)
  state.forget(field)
end

-- Removes the name of a draft from meta.
function state.forget (field)
  if state.drafts[field] then redis.call('HDEL', state.meta, 'd=' .. field) end
  state.drafts[field] = nil
end

-- Ends the leases that have expired by the lease clock.
function state.sweep ()
  for _, field in ipairs(redis.call('ZRANGEBYSCORE', state.leases, '-inf', state.now)) do
    local kind, length, bytes, lease, owner = state.find(field)
    if kind == 'd' then
      -- A draft stays until it is finalized, so that its readers do not lose it.
      state.put(field, 'x', length, bytes, lease, owner)
      redis.call('ZREM', state.leases, field)
    else
      state.drop(field)
    end
    state.publish('x', field, '')
  end
end
