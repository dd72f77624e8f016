/** When a user counts as gone. */
export interface PresenceOptions {
  /** Milliseconds after the last stream of a user has closed: a page that is reloaded, or a client that hops, is back before. @default 10_000 */
  graceMs?: number | undefined
  /** Milliseconds after which an instance that gives no sign of life, or can't reach Redis, has nobody any more. @default 15_000 */
  leaseMs?: number | undefined
}

/** When a user counts as gone, after defaults. */
export type PresenceTimes = { [Name in keyof PresenceOptions]-?: number }

/** Options after defaults and checks: only those without a default can be undefined. */
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

/** What `presence: true` stands for. */
export const presenceTimes: PresenceTimes = { graceMs: 10_000, leaseMs: 15_000 }
