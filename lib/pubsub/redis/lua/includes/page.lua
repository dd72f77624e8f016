-- Reads a page of events in small steps, because the number of events that fit into its bytes is not known before.
-- Event ids are <offset>-<tag>, and offsets have no gaps.

local page = {}

-- The most events that one step reads. Events that were read beyond the end of the page are thrown away.
local STEP = 16

local function bytes (event)
  local sum = 0
  for i = 2, #event[2], 2 do sum = sum + #event[2][i] end
  return sum
end

-- Reads at most `limit` events, from an offset onward or, with `back`, backward. Together they have at most `most`
-- bytes, unless the first event alone has more. Returns the events, and false if there are no further ones.
function page.read (stream, offset, back, limit, most)
  local events, sum = {}, 0
  while #events < limit do
    -- Estimated from the average size of the events read so far.
    local fit = sum > 0 and math.floor((most - sum) * #events / sum) or 1
    local want = math.max(1, math.min(STEP, limit - #events, fit))
    local at = string.format('%.0f', offset)
    local found = back and redis.call('XREVRANGE', stream, at, '-', 'COUNT', want)
      or redis.call('XRANGE', stream, at, '+', 'COUNT', want)
    for _, event in ipairs(found) do
      sum = sum + bytes(event)
      if #events > 0 and sum > most then return events, true end
      events[#events + 1] = event
    end
    if #found < want then return events, false end
    offset = tonumber(string.match(events[#events][1], '^%d+')) + (back and -1 or 1)
    if offset < 0 then return events, false end
  end
  return events, true
end

-- Returns the position before an event. Its tag is the field p: see `add` in includes/log.lua.
function page.before (event)
  local tag = '0'
  for i = 1, #event[2], 2 do
    if event[2][i] == 'p' then tag = event[2][i + 1] end
  end
  return string.format('%.0f-', tonumber(string.match(event[1], '^%d+')) - 1) .. tag
end
