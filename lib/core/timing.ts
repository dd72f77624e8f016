/** Intervals and timeouts that are not configurable, in milliseconds, and the limits that belong to them. */
export const timing = {
  /** Interval at which a repeated failure is logged, with its count. */
  repeatedLog: 30_000,
  /** Time that the health check waits for Redis: a frozen server keeps its connections open without replying. */
  healthTimeout: 1_000,
  /** Time for which the result of a successful publish probe is reused. */
  healthProbe: 5_000,
  /** Expiry of the keys of a publish probe in Redis. */
  healthProbeKeys: 10_000,
  /** Interval at which an idle subscriber sends PING to Redis. */
  redisPing: 2_000,
  /** A Redis connection without any reply for this long counts as dead. */
  redisSilence: 5_000,
  /** First and longest delay before a reconnect to Redis. */
  redisRetryMin: 50,
  redisRetryMax: 1_000,
  /** Time that closing waits for pending publishes. */
  redisQuit: 500,
  /** Time that a connection then has to end before it is destroyed. */
  redisDisconnect: 100,
  /**
   * Interval at which a closing server checks for unused connections. It is also the time that the client of an ended
   * HTTP/2 session has to close its side.
   */
  shutdownSweep: 250,
  /** Metadata of a log outlives its events by this time, so that a late client gets a `reset` with its reason. */
  metaExtra: 7 * 24 * 3_600_000,
  /**
   * Time for which an empty log is kept after it was last read or compared. It holds only the position from which
   * listeners start. It must be longer than two rounds of idle checks; a round takes up to `idleCheck` times
   * `idleCheckRounds`.
   */
  emptyLog: 60_000,
  /** The state of a chat outlives its events by this time, so no lease may be longer. */
  stateExtra: 60_000,
  /**
   * After a restart or failover of Redis, all leases start again, with at least this duration: their owners must first
   * reconnect.
   */
  stateLease: 5_000,
  /**
   * Interval at which idle chats are compared with their logs, and chats with state with that state. Without it, the
   * loss of the last event before a silence would go unnoticed.
   */
  idleCheck: 2_000,
  /** Maximum number of chats compared in one check. If there are more, each chat is compared less often. */
  idleCheckMax: 1_000,
  /** Each chat is compared at least once in this many checks, even if a check must then exceed `idleCheckMax`. */
  idleCheckRounds: 10,
  /** Time over which the reads of all chats are spread after a reconnect, so that they do not all run at once. */
  resyncSpread: 250,
  /** First delay before a failed read of a log is retried. */
  resyncRetry: 500,
  /** Longest delay before such a retry, after repeated failures. */
  resyncRetryMax: 15_000,
  /** The longest time that a long poll waits for an event. */
  longPoll: 25_000,
  /** Time for which a chat is still followed after its last listener has left: dropped clients soon reconnect. */
  roomGrace: 5_000,
  /** Minimum interval between two typing events of one user. */
  typingThrottle: 2_000,
  /** Time for which a client shows a typing event. */
  typingExpiry: 6_000,
  /**
   * Time for which a user must be absent from Redis before `left` is published. If Redis has lost its data, all
   * instances reconnect and restore their users within this time.
   */
  presenceSettle: 2_000,
  /** Time for which events read for one reconnecting client are kept for others. */
  sharedRead: 5_000,
  /** Number of revocations and stop requests that are kept for disconnected instances. */
  controlLogSize: 2_000,
  /** Time for which they are kept after the last one. */
  controlLogTtl: 3_600_000,
  /** Time over which streams are reauthorized after a revocation may have been missed. */
  accessSpread: 5_000,
  /** Time after which a stream that could not be reauthorized is ended. */
  accessDeadline: 30_000,
  /** Time after which a relay reads new rows: while the database does not notify it, and while it does. */
  outboxPoll: 250,
  outboxSafetyPoll: 1_000,
  /** First and longest delay before a relay tries again, after a failure of the database or of a publish. */
  outboxRetry: 100,
  outboxRetryMax: 5_000,
  /** Time that a relay waits for the publishes of a batch before it reads the rows of other chats. */
  outboxSlow: 100,
  /** Shortest time between two attempts of a relay to take the lease from another one. */
  outboxStandby: 1_000,
  /** Time that the relay of an outbox may take to stop. */
  outboxStop: 5_000,
  /** Time that it then waits for its database if it has no published row to delete. */
  outboxRelease: 1_000,
  /** Time after which the numbers of an outbox are unknown to a scrape. */
  outboxStats: 2_000
} as const
