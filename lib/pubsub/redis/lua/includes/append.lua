-- Appends the events of a batch. KEYS, ARGV and the reply are those of append.lua.

-- @include includes/batch

local function append_events ()
  local reply = batch.begin()
  if reply then return reply end

  -- `keyed` maps keys to event ids, since one batch may contain a key twice. `ttls` maps them to the milliseconds for
  -- which each is remembered.
  local ids, refusals, keyed, ttls = {}, {}, {}, {}
  local key, arg = 1, 3

  while arg < #ARGV do
    local refusal = log.open(KEYS[key + 1], KEYS[key + 2], ARGV[arg + 1])
    local kinds = ARGV[arg + 2]
    key, arg = key + 2, arg + 2
    for n = 1, #kinds do
      local id, why = nil, refusal
      local kind, ttl = string.sub(kinds, n, n), KEY_TTL
      local has_key = kind ~= '-'
      if kind == 'r' then
        ttl = ARGV[arg + 1]
        arg = arg + 1
      end
      if has_key then
        key = key + 1
        id = keyed[KEYS[key]] or redis.pcall('GET', KEYS[key])
        if type(id) == 'table' then id, why = nil, id end
      end
      if not id and not why then
        id, why = log.append(ARGV[arg + 1], ARGV[arg + 2])
        if has_key and id then keyed[KEYS[key]], ttls[KEYS[key]] = id, ttl end
      end
      arg = arg + 2
      ids[#ids + 1] = id or '-'
      if not id then refusals[#refusals + 1] = why end
    end
    if not refusal then log.close() end
  end

  -- No event was appended: reply with the error of Redis itself, such as READONLY or OOM.
  if #refusals == #ids then return refusals[1] end
  for name, id in pairs(keyed) do log.remember(name, id, ttls[name]) end
  local all = table.concat(ids, ' ')
  log.remember(KEYS[1], all, BATCH_TTL)
  for n, refusal in ipairs(refusals) do refusals[n] = refusal.err end
  return { log.trouble, all, unpack(refusals) }
end
