-- The probe includes this file before the scripts that publish. If the Redis user may not run a command, the error then
-- names it: before 7.2, Redis itself names it only outside of scripts.

local server = redis
local redis = { error_reply = server.error_reply }

function redis.pcall (command, ...)
  local reply = server.pcall(command, ...)
  if type(reply) == 'table' and reply.err and string.find(reply.err, "can't run this command", 1, true) then
    reply.err = "NOPERM this user has no permissions to run the '" .. string.lower(command) .. "' command"
  end
  return reply
end

function redis.call (...)
  local reply = redis.pcall(...)
  -- Raised as a string: before Redis 7, an error must not be a table.
  if type(reply) == 'table' and reply.err then error(reply.err) end
  return reply
end
