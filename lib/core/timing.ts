/** Times that no app has needed to change, in milliseconds. */
export const timing = {
  /** How often a failure that repeats is logged, with its count. */
  repeatedLog: 30_000,
  /** How long the health check waits for Redis: a frozen one answers nothing, yet keeps its connections. */
  healthTimeout: 1_000,
  /** How long a probe that got through proves that events can be published, and how long its keys stay in Redis. */
  healthProbe: 5_000,
  healthProbeKeys: 10_000,
  /** How often an idle subscriber asks Redis for a sign of life. */
  redisPing: 2_000,
  /** Without an answer for this long a connection to Redis counts as dead. */
  redisSilence: 5_000,
  /** First and longest wait before Redis is tried again. */
  redisRetryMin: 50,
  redisRetryMax: 1_000,
  /** How long closing waits for publishes that are under way. */
  redisQuit: 500,
  /** How long a connection may then take to end before it is cut. */
  redisDisconnect: 100,
  /** How often a closing server looks for connections that are no longer used: so long may the client of a session of HTTP/2 take to close its own. */
  shutdownSweep: 250,
  /** What is known of a log outlives its events by this: who comes back late is told why rather than nothing. */
  metaExtra: 7 * 24 * 3_600_000,
  /**
   * How long the log of a chat without an event is kept after it was last read, or compared: it is only a position for those who listen. Longer
   * than two rounds of checks take.
   */
  emptyLog: 60_000,
  /** What is so in a chat is kept this much longer than its events: longer than any lease. */
  stateExtra: 60_000,
  /** How long leases last at least when they begin anew, after a restart or failover of Redis. */
  stateLease: 5_000,
  /** How often quiet chats are compared with their logs, and chats with a state with that: the last event before a silence can be lost, too. */
  idleCheck: 2_000,
  /** How many of them at a time: of more, each is compared the less often, but once in so many checks. */
  idleCheckMost: 1_000,
  idleCheckRounds: 10,
  /** Over which time chats are read again after a reconnect, so that not all of them ask at once. */
  resyncSpread: 250,
  /** How long after a failed read the log is tried again. */
  resyncRetry: 500,
  /** The longest wait before that, where it fails again and again. */
  resyncRetryMax: 15_000,
  /** How long a chat is followed after its last listener has left: clients that drop come back soon. */
  roomGrace: 5_000,
  /** How often at most others are told that somebody types on, and how long they shall show it. */
  typingThrottle: 2_000,
  typingExpiry: 6_000,
  /** How long somebody must be gone from Redis before that is told: what it has lost is back sooner, once all have found it again. */
  presenceSettle: 2_000,
  /** How long what was read for one client that comes back is kept for another one. */
  sharedRead: 5_000,
  /** How many revocations, and requests to stop, are kept for instances that were away, and for how long after the last one. */
  controlLogSize: 2_000,
  controlLogTtl: 3_600_000,
  /** Over which time streams are authorized again once it is unknown whether a revocation was missed; and what that may take before a stream is ended. */
  accessSpread: 5_000,
  accessDeadline: 30_000
} as const
