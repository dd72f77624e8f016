-- The probe runs the commands that the other scripts need besides those of append.lua: those that read a log, and those
-- for state (bot messages and presence). It fails if the Redis user may not run one of them. The hash and the sorted
-- set do not exist any more afterwards.

local function try_commands (stream, hash, set)
  redis.call('TIME')
  redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)
  redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
  redis.call('HSET', hash, 'field', '')
  redis.call('PEXPIRE', hash, LOG_TTL)
  redis.call('HGET', hash, 'field')
  redis.call('HGETALL', hash)
  redis.call('ZADD', set, 1, 'field')
  redis.call('PEXPIRE', set, LOG_TTL)
  redis.call('ZRANGEBYSCORE', set, '-inf', '+inf')
  redis.call('ZREM', set, 'field')
  redis.call('HDEL', hash, 'field')
end
