import type { Cursor } from '../cursor.ts'
import type { Stamp } from './state-store.ts'

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

/** One message as it travels: all that a receiver needs to forward it, with its JSON unparsed. */
export interface Envelope {
  /** The publisher's `instanceId`. */
  from: string
  /** Milliseconds since 1970. */
  timestamp: number
  /** The name that an SSE frame gives it: the payload's `type`, or `message`. */
  event: string
  /** The payload: JSON on one line. */
  json: string
  /** A W3C `traceparent`, if the publisher gave one. */
  traceparent?: string | undefined
  /** Its place in the channel's log. Absent for ephemeral messages, and where the provider keeps no log. */
  position?: Position | undefined
}

/** The place of an event in a log. */
export interface Position extends Cursor {
  /** The tag of the event before it: who followed another branch of the log is told by it. */
  previousTag: number
  /** It marks a place where events may be missing that were acknowledged. It carries no event of the app's. */
  fence: boolean
}

/**
 * Why a cursor can't be followed. `failover`: acknowledged events may be missing behind it, and either the log has
 * only discontinuity markers from there on, or it can't be marked for now (`top.unproven`); without a cursor, the same is said of its end.
 * `diverged`, `expired` and `trimmed` prove that an event is missing.
 */
export type LogGap = 'epoch' | 'ahead' | 'diverged' | 'expired' | 'trimmed' | 'failover'

/** The end of a log: the last event's place, and where the state of the channel was then, if it ever had one. */
export interface LogTop extends Cursor {
  state?: Stamp | undefined
  /** Whether acknowledged events may be missing behind it. Reading the log shows it: as a discontinuity marker, or as the gap `failover`. */
  unproven?: boolean
}

/** What was read of a log. */
export interface LogPage {
  /** The last event's place; offset 0 in an empty log. */
  top: LogTop
  /** Why the events after the cursor can't be read; there are no entries then. */
  gap?: LogGap | undefined
  /** Events in order, without a hole. After a cursor, there are more as long as the last one is before `top`. */
  entries: Logged[]
  /** Without a cursor: the position before the last `limit` events, if the page begins later because of `maxBytes`. */
  start?: Cursor | undefined
}

/** An event that has a place in a log. */
export type Logged = Envelope & { position: Position }

/**
 * A log of the last events of each channel. A place in it is an epoch, that of the log; an offset, which counts events without a hole; and
 * a random tag, by which another event with the same offset is known to be another one.
 */
export interface EventLog {
  /**
   * Reads a page of at most `limit` events after a cursor; without a cursor, the last ones. Makes a log where there is
   * none, so that there is always a place to go on from; one without an event is kept while it is read, or compared
   * with `tops`, now and then. Rejects with `RT_LOG_UNAVAILABLE`.
   *
   * The payloads of a page have about `maxBytes` bytes at most, or it is one event. With a `maxBytes` of 0, and without
   * a cursor, it has no events and only says where the log ends, and in `start` where the last `limit` events begin. A
   * log that cannot count bytes ignores `maxBytes` and gives `limit` events: then their size is its own concern.
   */
  read(channel: string, after: Cursor | undefined, limit: number, maxBytes?: number): Promise<LogPage>
  /** The places of the last events of several channels; `undefined` where there is no log. Rejects with `RT_LOG_UNAVAILABLE`. */
  tops(channels: string[]): Promise<(LogTop | undefined)[]>
}

/** A capability of a provider that is a `LiveFeed`, too: what it publishes can be read again. `logContract` checks it. */
export interface Replayable {
  /** `undefined` where history is turned off. */
  readonly log: EventLog | undefined
}

/** What a provider tells somebody who follows a channel. */
export interface Follower {
  /** The subscription holds: nothing that is published from here on is missed. Told again after each interruption. */
  live(): void
  /** The subscription broke: what is published from here on may be missed, until `live` is told again. */
  lost(): void
  /** A message. `remote` says that another instance published it. */
  receive(envelope: Envelope, remote: boolean): void
}

/** A capability of a provider: it hands messages on unparsed and tells when a subscription holds. */
export interface LiveFeed {
  /** This instance's name, the `from` of what it publishes. */
  readonly instanceId: string
  /** Follows one channel by its exact name. Returns its undo. */
  follow(channel: string, follower: Follower): () => void
}
