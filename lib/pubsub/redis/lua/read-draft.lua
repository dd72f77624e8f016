-- Reads a part of a draft, or of what is left of a finalized one.
--
-- KEYS[1]  the fields of the state
-- KEYS[2]  the events: see includes/log.lua
-- KEYS[3]  the content: see includes/draft.lua
-- KEYS[4]  the id of the event that was published with the finalization key
-- ARGV[1]  field
-- ARGV[2]  the position from which the content is read
-- Returns the record of the field, or '' if there is no such draft, its header, the pieces, at most PAGE bytes unless
--         the first one alone has more, and the payload of the event that has replaced the draft, or ''

-- @include includes/page

local record = redis.call('HGET', KEYS[1], '=' .. ARGV[1])
local header, payload = '', ''
if record then
  header = redis.call('HGET', KEYS[1], '0=' .. ARGV[1]) or ''
else
  local id = string.match(redis.call('GET', KEYS[4]) or '', '^%w+-(%d+-%d+)$')
  local event = id and redis.call('XRANGE', KEYS[2], id, id)[1]
  for n = 1, event and #event[2] or 0, 2 do
    if event[2][n] == 'd' then payload = event[2][n + 1] end
  end
  -- The content outlives neither its event nor its draft.
  if payload == '' then return { '', '', {}, '' } end
end
return { record or '', header, (page.read(KEYS[3], ARGV[2] + 1, false, math.huge, tonumber(PAGE))), payload }
