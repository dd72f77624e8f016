-- What the scripts share that touch the state of a channel.
--
-- In meta: se epoch and sv version of the state, sr what the data's history is called where it was changed last, sc the clock of its leases in
-- milliseconds, st when that was, by the wall clock, and t=<field> for each text its <lease> <owner>: a text that the
-- fields don't hold was lost, and is put back, since without it nothing would ever end it. A state whose meta was lost
-- is found by its fields.
-- The fields are a hash. A field has a record, =<field>: <kind> <chunks> <bytes> <lease> <owner>, and its value in
-- chunks: 0=<field>, 1=<field>, … so that appending costs no more for a long text. Kinds: v a value, t a text, x a text
-- whose lease has run out. The lease is its length in milliseconds: where leases begin anew, each lasts as long again.
-- The leases are a sorted set: when each runs out, by the clock of the leases.
--
-- Constants: see scripts.ts.

-- @include includes/replication-id

local state = {}

-- The wall clock of Redis can step. So what passes between two looks at the state counts as LEASE_STEP ms at most, and as nothing where it is negative.
-- An instance that follows the chat looks more often than that.
function state.tick (clock, at)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local elapsed = now - (tonumber(at) or now)
  state.now = (tonumber(clock) or now) + math.max(0, math.min(elapsed, LEASE_STEP))
  -- By the wall clock alone, where that is later.
  state.unclamped = state.now + elapsed - LEASE_STEP
  state.ticked = { sc = string.format('%.0f', state.now), st = string.format('%.0f', now) }
  -- It may fail without memory: then leases last longer.
  if clock and (elapsed < 0 or elapsed >= 500) then redis.pcall('HSET', state.meta, 'sc', state.ticked.sc, 'st', state.ticked.st) end
end

-- All leases begin anew, and meta names all texts.
local function restore_leases ()
  local all = redis.call('HGETALL', state.fields)
  for n = 1, #all, 2 do
    local field = string.match(all[n], '^=(.*)$')
    local kind, _, _, lease, owner = nil
    if field then kind, _, _, lease, owner = state.find(field) end
    if kind == 'v' or kind == 't' then
      -- Without memory it fails, and is done with the next look.
      redis.pcall('ZADD', state.leases, state.now + math.max(lease, FAILOVER_LEASE), field)
    end
    if kind == 't' or kind == 'x' then state.name(field, lease, owner) end
  end
  redis.pcall('PEXPIRE', state.leases, STATE_TTL)
end

-- Changes that other instances have seen may be missing, and no lease could be renewed meanwhile.
local function begin_anew (new)
  -- Without memory a reader finds nothing new, and looks again later.
  for field in pairs(state.texts) do if not state.find(field) then return end end
  state.epoch, state.version = new, 1
  restore_leases()
  state.keep()
end

-- `new` is the epoch of a new state, which is begun where there is none if `create` says so. Returns whether there is one.
function state.open (meta, fields, leases, channel, new, create)
  state.meta, state.fields, state.leases, state.channel = meta, fields, leases, channel
  -- Reading goes on where Redis refuses to write.
  state.write = create and redis.call or redis.pcall
  state.texts = {}
  local known, all = {}, redis.call('HGETALL', meta)
  for n = 1, #all, 2 do
    local field = string.match(all[n], '^t=(.*)$')
    if field then state.texts[field] = all[n + 1] else known[all[n]] = all[n + 1] end
  end
  state.alone = not known.l or known.l == '0-0'
  local found = redis.call('EXISTS', fields) == 1
  local lost = not found and next(state.texts) ~= nil
  if not known.se and not found and not create then return false end
  state.tick(known.sc, known.st)
  state.epoch, state.version, state.replication_id = known.se or new, tonumber(known.sv) or 0, replication_id()
  if lost or found and not known.se or known.se and known.sr ~= state.replication_id then
    begin_anew(new)
  elseif not known.se then
    -- A script that has written may go on without memory, so that nothing is deleted that is not there.
    if redis.call('EXISTS', leases) == 1 then redis.call('DEL', leases) end
  elseif found and redis.call('EXISTS', leases) == 0 then
    -- Their key can be evicted or deleted by itself: without a lease nothing would ever run out.
    restore_leases()
  end
  return true
end

function state.full_version () return state.epoch .. '-' .. string.format('%.0f', state.version) end

function state.keep ()
  redis.call('HSET', state.meta, 'se', state.epoch, 'sv', string.format('%.0f', state.version), 'sr', state.replication_id)
  if not state.clocked then redis.call('HSET', state.meta, 'sc', state.ticked.sc, 'st', state.ticked.st) end
  state.clocked = true
  state.keep_meta()
  redis.call('PEXPIRE', state.fields, STATE_TTL)
  redis.call('PEXPIRE', state.leases, STATE_TTL)
end

-- Beside a log with events, meta lives as long as that. Else it lives as long as the fields, and soon ends without them.
function state.keep_meta ()
  local ttl = META_TTL
  if state.alone then
    local open = next(state.texts) or redis.call('EXISTS', state.fields) == 1
    ttl = open and STATE_TTL or EMPTY_TTL
  end
  redis.call('PEXPIRE', state.meta, ttl)
end

function state.publish (operation, field, value)
  state.version = state.version + 1
  state.keep()
  -- Who does not hear of it sees that by the next change, or compares the version now and then.
  redis.pcall(PUBLISH, state.channel, table.concat({ '1', state.epoch, string.format('%.0f', state.version), '-', '-', 's', operation, field, value }, ' '))
end

-- Puts a text back with what is left of it. Returns its record.
local function put_back (field)
  local chunks, bytes = 0, 0
  while true do
    local chunk = redis.call('HGET', state.fields, chunks .. '=' .. field)
    if not chunk then break end
    chunks, bytes = chunks + 1, bytes + #chunk
  end
  local record = table.concat({ 't', chunks, bytes, state.texts[field] }, ' ')
  return type(state.write('HSET', state.fields, '=' .. field, record)) == 'number' and record
end

-- Kind, chunks, bytes, lease and owner of a field, if there is one.
function state.find (field)
  local record = redis.call('HGET', state.fields, '=' .. field) or state.texts[field] and put_back(field)
  local kind, chunks, bytes, lease, owner = string.match(record or '', '^(%a) (%d+) (%d+) (%d+) (.*)$')
  return kind, tonumber(chunks), tonumber(bytes), lease, owner
end

function state.put (field, kind, chunks, bytes, lease, owner)
  redis.call('HSET', state.fields, '=' .. field, table.concat({ kind, chunks, bytes, lease, owner }, ' '))
  if kind ~= 'v' then state.name(field, lease, owner) end
end

-- Names a text in meta.
function state.name (field, lease, owner)
  local text = lease .. ' ' .. owner
  if state.texts[field] == text then return end
  state.write('HSET', state.meta, 't=' .. field, text)
  state.texts[field] = text
end

function state.lease (field, ms)
  redis.call('ZADD', state.leases, state.now + ms, field)
  if state.alone then state.keep_meta() end
  redis.call('PEXPIRE', state.fields, STATE_TTL)
  redis.call('PEXPIRE', state.leases, STATE_TTL)
end

function state.drop (field, chunks)
  for n = 0, chunks - 1 do redis.call('HDEL', state.fields, n .. '=' .. field) end
  redis.call('HDEL', state.fields, '=' .. field)
  redis.call('ZREM', state.leases, field)
  if state.texts[field] then redis.call('HDEL', state.meta, 't=' .. field) end
  state.texts[field] = nil
end

function state.sweep ()
  for _, field in ipairs(redis.call('ZRANGEBYSCORE', state.leases, '-inf', state.now)) do
    local kind, chunks, bytes, lease, owner = state.find(field)
    if kind == 't' then
      -- Its readers shall not lose it: it stays until it is finalized.
      state.put(field, 'x', chunks, bytes, lease, owner)
      redis.call('ZREM', state.leases, field)
    else
      state.drop(field, chunks or 0)
    end
    state.publish('x', field, '')
  end
end
