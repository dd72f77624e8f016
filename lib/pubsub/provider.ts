/** What a handler is given for one published message. */
export interface PubSubMessage<T = unknown> {
  /** The channel it was published to, also where a pattern matched it. */
  channel: string
  /** The published value as JSON carries it. All handlers share it: read it, don't change it. */
  data: T
  /** The event's place in the channel's log. Absent where the provider keeps no log. */
  id?: string
  /** When it was published, in milliseconds since 1970, by the publisher's clock. */
  timestamp: number
  /** The `instanceId` of the publisher. */
  from: string
}

/** Is called with each message. What it returns is ignored, but for a promise that rejects, which is logged. */
export type PubSubHandler<T = unknown> = (message: PubSubMessage<T>) => unknown

/** How one message is published. */
export interface PublishOptions {
  /**
   * Publishing again with the same key, on this channel and within `idempotencyTtlMs`, publishes nothing: it resolves with the first
   * one's receipt and `duplicate: true`. 1 to 200 characters. Without effect where the provider keeps no log.
   * @default a new one for each call
   */
  idempotencyKey?: string | undefined
  /**
   * For what is worth nothing a moment later (somebody types). It reaches this instance at once, even while
   * Redis is away, and the others if it can; it never waits for a connection and is not kept in a log.
   * @default false
   */
  ephemeral?: boolean | undefined
  /** A W3C `traceparent`: it travels with the event to whoever traces its delivery. One that is none is ignored. @default none */
  traceparent?: string | undefined
}

/** What became of a message. */
export interface PublishReceipt {
  /** The event's place in the channel's log. Absent where the provider keeps no log. */
  id?: string
  /** Whether this very event had been published before, so that nothing happened now. */
  duplicate: boolean
}

/**
 * Carries messages from publishers to subscribers. `providerContract` of `fastify-realtime/testing` checks what is said here.
 *
 * - A message reaches each subscription that holds when it is published, at most once, on every
 *   instance, the publisher's too. While the way to another instance is interrupted, messages are lost to it.
 * - Messages of one publisher on one channel arrive in the order of the `publish` calls; ephemeral ones may overtake the others on
 *   their own instance.
 * - Handlers run one after another and never inside `publish`. One that throws or rejects is logged and stops no other. A subscription
 *   that a handler makes to its own channel or pattern starts with the next message; another one may or may not get the one at hand.
 * - After `close()` no handler runs, `publish` rejects and subscribing throws, both with `RT_CLOSED`.
 */
export interface PubSubProvider {
  /** Short name for logs and the health route, such as `redis`. */
  readonly name: string

  /**
   * Publishes `data`, any value that JSON can carry, to a channel.
   *
   * Resolves once the message is on its way to all subscribers. Rejects with `RT_CHANNEL_INVALID`, `RT_PAYLOAD_INVALID`,
   * `RT_PAYLOAD_TOO_LARGE`, `RT_PUBLISH_REJECTED` or `RT_CLOSED` when nothing was published, and with
   * `RT_PUBLISH_UNKNOWN` when that can't be told. A promise that nobody looks at is logged, never an `unhandledRejection`.
   */
  publish<T>(channel: string, data: T, options?: PublishOptions): Promise<PublishReceipt>

  /**
   * Subscribes to every channel that a Redis glob matches: `*`, `?`, `[a-c]`, `[^x]`, `\` escapes. Returns its undo.
   * Like Redis, it counts bytes of UTF-8: `?` is one byte.
   */
  subscribe<T = unknown>(pattern: string, handler: PubSubHandler<T>): () => void

  /** Subscribes to one channel by its exact name, in which `*` is just a star. Returns its undo. */
  subscribeExact<T = unknown>(channel: string, handler: PubSubHandler<T>): () => void

  /**
   * Whether messages get through now. Answers within a second, and never in the same turn of the event loop, so that a
   * loop that asks again and again does not freeze the process. Never rejects.
   */
  isHealthy(): Promise<boolean>

  /** Ends all subscriptions and connections of its own. Safe to call twice; bounded while Redis is away. */
  close(): Promise<void>
}

/** What a health check found. */
export interface HealthReport {
  healthy: boolean
  /** What is wrong, if that is known: a code for programs, and a sentence without keys, payloads or URLs. */
  error?: { code: string, message: string }
}

/** A capability of a provider: it says why it is unhealthy. */
export interface HealthReporting {
  /** Like `isHealthy`. */
  health (): Promise<HealthReport>
}

/** A capability of a provider: it can count its subscriptions. */
export interface PubSubStats {
  /** How many distinct channels and patterns are subscribed to. */
  stats(): { channels: number, patterns: number }
  /** Which of its connections are up. */
  connected?(): Record<string, boolean>
}
