-- Reads the heads of logs. Unlike read.lua, it creates no log.
--
-- KEYS[1]    meta: see includes/log.lua and includes/state.lua
-- KEYS[...]  the same for each further channel
-- ARGV       none
-- Returns a string for each channel, since many chats are polled and a list would be larger. It is '' if the channel
--         has no log. Otherwise it has these words: the epoch and the last event's id, joined by '-'; the version of
--         the state, if there is one; and 'unproven', if the log was written under another replication id

-- @include includes/replication-id

local heads = {}
for n, meta in ipairs(KEYS) do
  local epoch, last, written_under, state_epoch, state_version =
    unpack(redis.call('HMGET', meta, 'e', 'l', 'r', 'se', 'sv'))
  local head = ''
  if epoch and last then
    head = epoch .. '-' .. last
    if state_epoch then head = head .. ' ' .. state_epoch .. '-' .. state_version end
    if written_under ~= replication_id() then head = head .. ' unproven' end
    -- An empty log is kept while it is polled now and then. If it has a state, read.lua knows how long to keep it.
    if last == '0-0' and not state_epoch then redis.pcall('PEXPIRE', meta, EMPTY_TTL) end
  end
  heads[n] = head
end
return heads
