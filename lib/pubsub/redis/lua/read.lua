-- Reads a page of the log of each channel. With the cursor `after`, these are the first events after it, up to the
-- cursor `before` if there is one. Without `after`, they are the last events before `before`, or else the last of the
-- log.
--
-- KEYS[1]  meta: see includes/log.lua and includes/state.lua
-- KEYS[2]  the events: see includes/log.lua
-- KEYS[3]  the fields of the state
-- KEYS[...]  the same for each further channel
-- ARGV[1]  events to read at most
-- ARGV[2]  epoch of a new log
-- ARGV[3]  bytes of a page that has more than one event, or 0 for no events
-- ARGV[4]  epoch of `after`, or ''
-- ARGV[5]  offset of `after`, or ''
-- ARGV[6]  tag of `after`, or ''
-- ARGV[7]  epoch of `before`, or ''
-- ARGV[8]  offset of `before`, or ''
-- ARGV[9]  tag of `before`, or ''
-- ARGV[...]  the same for each further channel
-- Returns the error of a channel that can't be read, or for each channel a list of 1 the epoch, 2 the last event's id,
--       or 0-0, 3 why a cursor can't be followed, or '', 4 the events, without `after` the last one first, 5 the
--       version of the state, or '', 6 without a cursor the position before the last ARGV[1] events, or '' if the page
--       begins there, 7 1 if the log was written under another replication id, else 0

-- @include includes/replication-id
-- @include includes/page

-- Returns the list for one channel.
local function read (KEYS, ARGV)
  -- `marker` and `before_marker` are offsets.
  local epoch, last, written_under, state_epoch, state_version, marker, before_marker =
    unpack(redis.call('HMGET', KEYS[1], 'e', 'l', 'r', 'se', 'sv', 'f', 'b'))
  local top = epoch and string.match(last or '', '^(%d+)-%d+$')
  local after, before = ARGV[4] ~= '' and ARGV[4], ARGV[7] ~= '' and ARGV[7]
  local severed = written_under ~= replication_id()

  -- `start` is the position before the last events, unless the page begins there.
  local function reply (reason, events, start)
    -- If only meta was lost, the state still exists, and its next reader starts a new epoch.
    local version = redis.call('EXISTS', KEYS[3]) == 1 and 'lost-0' or ''
    if state_epoch then version = state_epoch .. '-' .. state_version end
    return { epoch, last, reason, events, version, start or '', severed and 1 or 0 }
  end

  -- An empty log has a position, too, so that a reader can continue from it. An empty log that was written under
  -- another replication id may have lost events, so a new log replaces it.
  if not top or (top == '0' and severed) then
    local written = redis.pcall('HSET', KEYS[1], 'e', ARGV[2], 'l', '0-0', 'r', replication_id())
    local refusal = type(written) == 'table' and written.err
    -- If Redis refuses to replace a log, the old one is returned, with `severed`.
    if not (top and refusal) then epoch, last, severed = ARGV[2], '0-0', false end
    if not refusal then
      top = '0'
      redis.call('DEL', KEYS[2])
    elseif not top then
      -- Reads must work even while Redis refuses writes. The reader then gets a position that is not stored, so the log
      -- will have another epoch later.
      for _, code in ipairs({ 'OOM', 'MISCONF', 'NOREPLICAS' }) do
        if string.find(refusal, code, 1, true) then return reply((after or before) and 'epoch' or '', {}) end
      end
      return written
    end
  end

  -- Returns whether the state has a field, or a lost draft that is to be restored: see includes/state.lua.
  local function has_state ()
    if not state_epoch then return false end
    if redis.call('EXISTS', KEYS[3]) == 1 then return true end
    for _, name in ipairs(redis.call('HGETALL', KEYS[1])) do if string.find(name, '^d=') then return true end end
    return false
  end

  -- An empty log is kept while it is read or polled now and then, or as long as its state if that has fields.
  if top == '0' then redis.pcall('PEXPIRE', KEYS[1], has_state() and STATE_TTL or EMPTY_TTL) end

  local limit, most = tonumber(ARGV[1]), tonumber(ARGV[3])
  top = tonumber(top)

  if not after and not before then
    local events, more = {}, true
    if most > 0 then events, more = page.read(KEYS[2], top, true, limit, most) end
    if not more or #events == limit then return reply('', events) end
    local first = redis.call('XRANGE', KEYS[2], string.format('%.0f', math.max(0, top - limit + 1)), '+', 'COUNT', 1)[1]
    return reply('', events, first and page.before(first))
  end

  -- Replies with `reason` if an event at offset `first` or later is missing. If only discontinuity markers follow, no
  -- loss is proven, and the reason is `failover`.
  local function missing (reason, first)
    local last_event = tonumber(marker) == top and tonumber(before_marker) or top
    return reply(last_event >= first and reason or 'failover', {})
  end

  if after and after ~= epoch or before and before ~= epoch then return reply('epoch', {}) end

  local stop = tonumber(ARGV[8])

  if before then
    if stop > top then return reply('ahead', {}) end
    local id = stop == top and last or stop == 0 and '0-0'
    if not id then
      local at = string.format('%.0f', stop)
      local event = redis.call('XRANGE', KEYS[2], at, at, 'COUNT', 1)[1]
      id = event and event[1]
    end
    local expired = redis.call('EXISTS', KEYS[2]) == 0 and 'expired'
    if not id then return reply(expired or 'trimmed', {}) end
    if id ~= ARGV[8] .. '-' .. ARGV[9] then return missing('diverged', stop) end
    if not after then
      if stop <= 1 then return reply('', {}) end
      local events = page.read(KEYS[2], stop - 1, true, limit, most)
      return reply(#events > 0 and '' or expired or 'trimmed', events)
    end
  end

  local offset = tonumber(ARGV[5])

  if offset > top then return reply('ahead', {}) end
  if offset == top then
    if ARGV[5] .. '-' .. ARGV[6] == last then return reply('', {}) end
    return missing('diverged', offset)
  end

  -- The first event is read also if the page is empty because of `before`: it proves that `after` can be followed.
  local span = before and stop - offset - 1 or limit
  local events = page.read(KEYS[2], offset + 1, false, math.max(1, math.min(limit, span)), most)
  if #events == 0 then return missing('expired', offset + 1) end
  local first = page.before(events[1])
  if tonumber(string.match(first, '^%d+')) ~= offset then return missing('trimmed', offset + 1) end
  if first ~= ARGV[5] .. '-' .. ARGV[6] then return missing('diverged', offset) end
  return reply('', span > 0 and events or {})
end

local replies = {}
for n = 1, #KEYS / 3 do
  replies[n] = read({ unpack(KEYS, 3 * n - 2, 3 * n) }, { unpack(ARGV, 9 * n - 8, 9 * n) })
  if replies[n].err then return replies[n] end
end
return replies
