-- Reads the heads of logs. Unlike read.lua, it creates no log.
--
-- KEYS[1]    meta: see includes/log.lua and includes/state.lua
-- KEYS[...]  the same for each further channel
-- ARGV       none
-- Returns for each channel '' if it has no log, else a short string, since many chats are polled: the epoch and the
--         last event's id joined by '-', then the version of the state if there is one, then 'unproven' if the log was
--         written under another replication id

-- @include includes/replication-id

local heads = {}
for n, meta in ipairs(KEYS) do
  local epoch, last, written_under, state_epoch, state_version =
    unpack(redis.call('HMGET', meta, 'e', 'l', 'r', 'se', 'sv'))
  heads[n] = ''
  if epoch and last then
    -- An empty log is kept while it is polled now and then.
    if last == '0-0' then redis.pcall('PEXPIRE', meta, state_epoch and STATE_TTL or EMPTY_TTL) end
    local version = state_epoch and ' ' .. state_epoch .. '-' .. state_version or ''
    heads[n] = epoch .. '-' .. last .. version .. (written_under == replication_id() and '' or ' unproven')
  end
end
return heads
