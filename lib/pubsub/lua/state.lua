-- What the scripts share that touch the state of a channel. It begins with history.lua.
--
-- In meta: se epoch and sv version of the state, sr what the data's history is called where it was changed last, sc the clock of its leases in
-- milliseconds, st when that was, by the wall clock.
-- The fields are a hash. A field has a record, =<field>: <kind> <chunks> <bytes> <owner>, and its value in chunks: 0=<field>, 1=<field>, …
-- so that appending costs no more for a long text. Kinds: v a value, t a text, x a text whose lease has run out.
-- The leases are a sorted set: when each runs out, by the clock of the leases.
--
-- Constants: see redis-script.ts.

local state = {}

-- The wall clock of Redis can step. So what passes between two looks at the state counts as LEASE_STEP ms at most, and as nothing where it is negative.
-- Whoever follows a chat looks more often than that.
function state.tick (clock, at)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local elapsed = now - (tonumber(at) or now)
  state.now = (tonumber(clock) or now) + math.max(0, math.min(elapsed, LEASE_STEP))
  -- By the wall clock alone.
  state.unclamped = state.now + math.max(0, elapsed - LEASE_STEP)
  state.ticked = { sc = string.format('%.0f', state.now), st = string.format('%.0f', now) }
  -- It may fail without memory: then leases last longer.
  if clock and (elapsed < 0 or elapsed >= 500) then redis.pcall('HSET', state.meta, 'sc', state.ticked.sc, 'st', state.ticked.st) end
end

-- Their key can be evicted or deleted by itself: without a lease nothing would ever run out.
local function restore_leases ()
  if redis.call('EXISTS', state.leases) == 1 or redis.call('EXISTS', state.fields) == 0 then return end
  local all = redis.call('HGETALL', state.fields)
  for n = 1, #all, 2 do
    local field = string.match(all[n], '^=(.*)$')
    local kind = field and state.find(field)
    -- Without memory it fails, and is done with the next look.
    if kind == 'v' or kind == 't' then redis.pcall('ZADD', state.leases, state.now + FAILOVER_LEASE, field) end
  end
  redis.pcall('PEXPIRE', state.leases, STATE_TTL)
end

-- `new` is the epoch of a new state, which is begun where there is none if `create` says so. Returns whether there is one.
function state.open (meta, fields, leases, channel, new, create)
  state.meta, state.fields, state.leases, state.channel = meta, fields, leases, channel
  local known = redis.call('HMGET', meta, 'se', 'sv', 'sr', 'sc', 'st')
  if not known[1] and not create then return false end
  state.tick(known[4], known[5])
  state.epoch, state.version = known[1], tonumber(known[2])
  state.history = history()
  if not known[1] then
    state.epoch, state.version = new, 0
    -- A script that has written may go on without memory, so that nothing is deleted that is not there.
    if redis.call('EXISTS', fields, leases) > 0 then redis.call('DEL', fields, leases) end
  elseif known[3] ~= state.history then
    -- Changes may be missing that others know of, and nobody could renew a lease meanwhile.
    state.epoch, state.version = new, 1
    for _, field in ipairs(redis.call('ZRANGE', leases, 0, -1)) do redis.call('ZADD', leases, state.now + FAILOVER_LEASE, field) end
    state.keep()
  else
    restore_leases()
  end
  return true
end

function state.stamp () return state.epoch .. '-' .. string.format('%.0f', state.version) end

function state.keep ()
  redis.call('HSET', state.meta, 'se', state.epoch, 'sv', string.format('%.0f', state.version), 'sr', state.history)
  if not state.clocked then redis.call('HSET', state.meta, 'sc', state.ticked.sc, 'st', state.ticked.st) end
  state.clocked = true
  redis.call('PEXPIRE', state.meta, META_TTL)
  redis.call('PEXPIRE', state.fields, STATE_TTL)
  redis.call('PEXPIRE', state.leases, STATE_TTL)
end

function state.tell (operation, field, value)
  state.version = state.version + 1
  state.keep()
  -- Who does not hear of it sees that by the next change, or compares the version now and then.
  redis.pcall(PUBLISH, state.channel, table.concat({ '1', state.epoch, string.format('%.0f', state.version), '-', '-', 's', operation, field, value }, ' '))
end

-- Kind, chunks, bytes and owner of a field, if there is one.
function state.find (field)
  local kind, chunks, bytes, owner = string.match(redis.call('HGET', state.fields, '=' .. field) or '', '^(%a) (%d+) (%d+) (.*)$')
  return kind, tonumber(chunks), tonumber(bytes), owner
end

function state.put (field, kind, chunks, bytes, owner)
  redis.call('HSET', state.fields, '=' .. field, table.concat({ kind, chunks, bytes, owner }, ' '))
end

function state.lease (field, ms)
  redis.call('ZADD', state.leases, state.now + ms, field)
  redis.call('PEXPIRE', state.fields, STATE_TTL)
  redis.call('PEXPIRE', state.leases, STATE_TTL)
end

function state.drop (field, chunks)
  for n = 0, chunks - 1 do redis.call('HDEL', state.fields, n .. '=' .. field) end
  redis.call('HDEL', state.fields, '=' .. field)
  redis.call('ZREM', state.leases, field)
end

function state.sweep ()
  for _, field in ipairs(redis.call('ZRANGEBYSCORE', state.leases, '-inf', state.now)) do
    local kind, chunks, bytes, owner = state.find(field)
    if kind == 't' then
      -- Nobody shall lose it: it stays until it is concluded.
      state.put(field, 'x', chunks, bytes, owner)
      redis.call('ZREM', state.leases, field)
    else
      state.drop(field, chunks or 0)
    end
    state.tell('x', field, '')
  end
end
