/** A published message, as handlers receive it. */
export interface PubSubMessage<T = unknown> {
  /** The channel that it was published to, also if a pattern matched it. */
  channel: string
  /** The published value after a JSON round trip. All handlers share the object, so they must not change it. */
  data: T
  /** The event's id, which is its position in the channel's log. Absent if the provider keeps no log. */
  id?: string
  /** Publish time in milliseconds since 1970, by the publisher's clock. */
  timestamp: number
  /** The `instanceId` of the publisher. */
  from: string
}

/** Called with each message. Its return value is ignored, except that a promise that rejects is logged. */
export type PubSubHandler<T = unknown> = (message: PubSubMessage<T>) => unknown

/** Options for publishing one message. */
export interface PublishOptions {
  /**
   * Publishing again with the same key, on this channel and within `idempotencyTtlMs`, publishes nothing: the promise
   * resolves with the first receipt and `duplicate: true`. 1 to 200 characters. Without effect if the provider keeps
   * no log.
   * @default a new one for each call
   */
  idempotencyKey?: string | undefined
  /**
   * For messages that are worthless a moment later, such as typing indicators. The message is delivered on this
   * instance at once, even while Redis is unavailable, and on the others if possible. It never waits for a connection
   * and is not kept in a log.
   * @default false
   */
  ephemeral?: boolean | undefined
  /** A W3C `traceparent`, sent with the event to trace its delivery. An invalid one is ignored. @default none */
  traceparent?: string | undefined
}

/** The result of a publish. */
export interface PublishReceipt {
  /** The event's id, which is its position in the channel's log. Absent if the provider keeps no log. */
  id?: string
  /** Whether the event had already been published with the same key, so that this call published nothing. */
  duplicate: boolean
}

/**
 * Carries messages from publishers to subscribers. `providerContract` of `fastify-realtime/contracts` checks these
 * guarantees:
 *
 * - A message is delivered at most once to each subscription that is active when it is published, on every instance,
 *   including the publisher's. Messages for another instance are lost while the connection to it is interrupted.
 * - Messages of one publisher on one channel arrive in the order of the `publish` calls. Ephemeral messages may
 *   overtake the others on their own instance.
 * - Handlers run one after another and never inside `publish`. If a handler throws or rejects, that is logged and the
 *   other handlers still run. If a handler subscribes to its own channel or pattern, the new subscription starts with
 *   the next message; any other new subscription may or may not receive the current message.
 * - After `close()` no handler runs, `publish` rejects and subscribing throws, both with `RT_CLOSED`.
 */
export interface PubSubProvider {
  /** A short name for logs and the health route, such as `redis`. */
  readonly name: string

  /**
   * Publishes `data`, any value that JSON can represent, to a channel.
   *
   * Resolves once the message is on its way to all subscribers. Rejects with `RT_CHANNEL_INVALID`,
   * `RT_PAYLOAD_INVALID`, `RT_PAYLOAD_TOO_LARGE`, `RT_PUBLISH_REJECTED` or `RT_CLOSED` if nothing was published, and
   * with `RT_PUBLISH_UNKNOWN` if the outcome is unknown. If the caller ignores the promise, a rejection is logged and
   * causes no `unhandledRejection`.
   */
  publish<T>(channel: string, data: T, options?: PublishOptions): Promise<PublishReceipt>

  /**
   * Subscribes to every channel that matches a Redis glob: `*`, `?`, `[a-c]`, `[^x]`, `\` escapes. As in Redis, `?` is
   * one byte of UTF-8. Returns a function that unsubscribes.
   */
  subscribe<T = unknown>(pattern: string, handler: PubSubHandler<T>): () => void

  /** Subscribes to one channel by its exact name, in which `*` is literal. Returns a function that unsubscribes. */
  subscribeExact<T = unknown>(channel: string, handler: PubSubHandler<T>): () => void

  /**
   * Whether messages can be published and received now. Resolves within a second, and never in the same turn of the
   * event loop, so that a loop of calls does not freeze the process. Never rejects.
   */
  isHealthy(): Promise<boolean>

  /** Ends all subscriptions and the provider's own connections. Idempotent, and bounded while Redis is unavailable. */
  close(): Promise<void>
}

/** The result of a health check. */
export interface HealthReport {
  healthy: boolean
  /** The cause, if it is known: a code for programs, and a sentence without keys, payloads or URLs. */
  error?: { code: string, message: string }
}

/** A capability of a provider: it reports why it is unhealthy. */
export interface HealthReporting {
  /** Runs the same check as `isHealthy`. */
  health (): Promise<HealthReport>
}

/** A capability of a provider: it reports the number of its subscriptions. */
export interface PubSubStats {
  /** The numbers of distinct channels and patterns that are subscribed to. */
  stats(): { channels: number, patterns: number }
  /** For each of its connections, whether it is up. */
  connected?(): Record<string, boolean>
}
