-- Shared by the scripts that append to the log of a channel.
--
-- The events are a stream, whose ids are <offset>-<tag>.
-- Fields of meta:
--   e  the epoch
--   l  the id of the last event, or 0-0
--   r  the replication id under which that event was written
--   f  after a failover, the offset of the last discontinuity marker
--   b  after a failover, the offset of the last event before that marker
--   x  the time up to which the events are kept at least, in milliseconds since 1970
--
-- ARGV[1]  epoch of a new log
--
-- Constants: see scripts.ts.

-- @include includes/replication-id

local log = { trouble = '', written = false }

-- Since Redis 7, which tells scripts its version, XADD can tell that there is no stream.
local tells_missing = redis.REDIS_VERSION_NUM ~= nil

local time

-- Returns the time in milliseconds since 1970.
local function now ()
  if time then return time end
  local reply = redis.call('TIME')
  time = reply[1] * 1000 + math.floor(reply[2] / 1000)
  return time
end

-- Opens the log of a channel, a new one if there is none. Returns the error if meta can't be read, such as WRONGTYPE.
function log.open (meta, stream, channel)
  local known = redis.pcall('HMGET', meta, 'e', 'l', 'r', 'x')
  if known.err then return known end
  local offset, tag = string.match(known[2] or '', '^(%d+)-(%d+)$')
  local found = known[1] and offset
  log.meta, log.stream, log.channel, log.known, log.grown, log.head = meta, stream, channel, known, false, nil
  log.epoch, log.offset, log.tag = found and known[1] or ARGV[1], found and tonumber(offset) or 0, found and tag or '0'
  -- The log was last written before a restart or a failover, so acknowledged events may be missing: readers need a
  -- discontinuity marker.
  log.severed = found and known[3] ~= replication_id()
  -- Renewing the expiry takes as long as an event. So the keys are kept for longer than LOG_TTL, and their expiry is
  -- renewed only if the rest is shorter.
  log.renews = not found or log.severed or not tells_missing or (tonumber(known[4]) or 0) - now() < tonumber(LOG_TTL)
  -- After the first write command of a script, even a DEL of a missing key, Redis no longer refuses its writes for lack
  -- of memory. So delete only what exists: a full Redis must still refuse new data.
  if not found and redis.call('EXISTS', stream) == 1 then redis.call('DEL', stream) end
end

-- Writes the id of the last event into meta. Returns the error if Redis refuses.
local function set_head (id)
  local set
  if log.renews then
    local kept_until = string.format('%d', now() + LOG_EXPIRY)
    set = redis.pcall('HSET', log.meta, 'e', log.epoch, 'l', id, 'r', replication_id(), 'x', kept_until)
  else
    set = redis.pcall('HSET', log.meta, 'l', id)
  end
  if type(set) == 'table' then return set end
  log.head = id
end

-- Restores the fields of meta that `log.open` has read.
local function restore_head ()
  for n, name in ipairs({ 'e', 'l', 'r', 'x' }) do
    if log.known[n] then redis.call('HSET', log.meta, name, log.known[n])
    else redis.call('HDEL', log.meta, name) end
  end
end

-- Adds an entry to the stream. Its fields: k kind (d an event, f a discontinuity marker), p tag of the previous event,
-- d payload. Returns the reply of XADD.
local function add_entry (id, kind, payload)
  if not log.renews then
    local added
    if log.offset % TRIM_EVERY ~= 0 then
      added = redis.pcall('XADD', log.stream, 'NOMKSTREAM', id, 'k', kind, 'p', log.tag, 'd', payload)
    else
      added = redis.pcall(
        'XADD', log.stream, 'NOMKSTREAM', 'MAXLEN', '~', SIZE, id, 'k', kind, 'p', log.tag, 'd', payload
      )
    end
    if added then return added end
    -- The stream can be evicted or deleted on its own. The new one has no expiry yet.
    log.renews = true
  end
  return redis.pcall('XADD', log.stream, 'MAXLEN', '~', SIZE, id, 'k', kind, 'p', log.tag, 'd', payload)
end

-- Redis does not roll back a failed script. So meta is written before the first event: if Redis refuses that write,
-- nothing is written.
local function add (kind, tag, payload)
  local offset = log.offset + 1
  local at = string.format('%d', offset)
  local id = at .. '-' .. tag
  local refusal = not log.grown and set_head(id)
  if refusal then return nil, refusal end
  local added = add_entry(id, kind, payload)
  if type(added) == 'table' then
    if not log.grown then restore_head() end
    return nil, added
  end
  -- The event is in the log by now. An instance that misses the broadcast reads it there.
  local sent = redis.pcall(
    PUBLISH,
    log.channel,
    '1 ' .. log.epoch .. ' ' .. at .. ' ' .. tag .. ' ' .. log.tag .. ' ' .. kind .. ' ' .. payload
  )
  if type(sent) == 'table' and sent.err then log.trouble = sent.err end
  log.offset, log.tag, log.grown, log.written = offset, tag, true, true
  return log.epoch .. '-' .. id
end

-- Appends a discontinuity marker: acknowledged events may be missing before it. `origin` is the instance id and the
-- time, the first two words of its payload. Returns nothing, or the error.
function log.mark (tag, origin)
  local last = string.format('%.0f', log.offset)
  local _, refusal = add('f', tag, origin .. 'fence {}')
  log.severed = refusal ~= nil
  if refusal then return refusal end
  -- If markers follow each other directly, the last event before them stays the same.
  local marked = redis.call('HMGET', log.meta, 'f', 'b')
  local event = marked[1] == last and marked[2] or last
  redis.call('HSET', log.meta, 'f', string.format('%.0f', log.offset), 'b', event)
end

-- Appends an event. Returns its id, or nil and the error.
function log.append (tag, payload)
  -- The marker's tag is computed from the event's tag and is as random.
  local refusal = log.severed and log.mark(string.format('%.0f', 2 ^ 47 - tag), string.match(payload, '^%S+ %S+ '))
  if refusal then return nil, refusal end
  return add('d', tag, payload)
end

-- If events were appended, writes the id of the last one into meta, unless `add` has done so, and renews the expiry if
-- that is due.
function log.close ()
  if not log.grown then return end
  local last = string.format('%d-%s', log.offset, log.tag)
  if last ~= log.head then redis.call('HSET', log.meta, 'l', last) end
  if not log.renews then return end
  redis.call('PEXPIRE', log.stream, LOG_EXPIRY)
  redis.call('PEXPIRE', log.meta, META_TTL)
end
