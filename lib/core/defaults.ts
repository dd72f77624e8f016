/** Decides when a user counts as absent. */
export interface PresenceOptions {
  /**
   * Milliseconds after the user's last stream has closed. A reloaded page, or a client that moves to another instance,
   * reconnects within that time.
   * @default 10_000
   */
  graceMs?: number | undefined
  /**
   * Milliseconds after which all users of an instance count as absent if it has crashed or cannot reach Redis.
   * @default 15_000
   */
  leaseMs?: number | undefined
}

/** `PresenceOptions` with the defaults applied. */
export type PresenceTimes = { [Name in keyof PresenceOptions]-?: number }

/** Options after defaults and validation: only options without a default can be undefined. */
export type Resolved<T> = {
  [K in keyof T]-?: K extends 'history' ? { size: number, ttlMs: number } | false
    : K extends 'presence' ? PresenceTimes | false
      : K extends keyof typeof defaults ? NonNullable<T[K]> : T[K] | undefined
}

export const defaults = {
  prefix: '/api',
  heartbeatMs: 15_000,
  retryMs: 2_000,
  maxStreamsPerSession: 100,
  maxChatsPerStream: 50,
  maxRewind: 1_000,
  maxBufferedBytes: 262_144,
  history: { size: 1_000, ttlMs: 600_000 },
  idempotencyTtlMs: 120_000,
  maxPayloadBytes: 65_536,
  publishTimeoutMs: 5_000,
  botMessageWindowMs: 50,
  botMessageLeaseMs: 5_000,
  presence: false,
  drainTimeoutMs: 1_500,
  keyPrefix: 'rt:',
  sharded: false
} as const

/** The values that `presence: true` selects. */
export const presenceTimes: PresenceTimes = { graceMs: 10_000, leaseMs: 15_000 }
