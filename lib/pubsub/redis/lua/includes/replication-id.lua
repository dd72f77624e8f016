-- What the data's history is called: new with every restart and every promotion. Not run_id, which a primary that is replaced and comes back
-- has again.
local name

local function replication_id ()
  if name then return name end
  local info = redis.call('INFO', 'replication')
  -- As plain text: a pattern would take longer than all the rest of a script.
  local _, before = string.find(info, 'master_replid:', 1, true)
  name = string.sub(info, before + 1, before + 40)
  return name
end
