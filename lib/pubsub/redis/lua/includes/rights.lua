-- Stands before append.lua in a probe, and runs what the other scripts need besides: those that read a log, and those of
-- states, for bot messages and presence. On a user who may not run one of these commands it fails.
--
-- KEYS  those of append.lua, and the last two: a hash and a sorted set. Nothing is left of them.

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
