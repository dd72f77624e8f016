-- The replication id names the history of the data. It is new after every restart and every promotion. `run_id` would
-- not do: a demoted primary that is promoted again still has the same one.
local name

local function replication_id ()
  if name then return name end
  local info = redis.call('INFO', 'replication')
  -- A plain search: matching a pattern would take longer than the rest of the script.
  local _, before = string.find(info, 'master_replid:', 1, true)
  name = string.sub(info, before + 1, before + 40)
  return name
end
