-- The probe includes this file before append.lua. It runs the commands that the other scripts need besides: those that
-- read a log, and those for state (bot messages and presence). It fails if the Redis user may not run one of them.
--
-- KEYS  those of append.lua, and at the end a hash and a sorted set, which do not exist any more afterwards

local stream, hash, set = KEYS[3], KEYS[#KEYS - 1], KEYS[#KEYS]

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
