import type { Cursor } from './cursor.ts'
import type { StateVersion } from './state-store.ts'

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
  position?: LogPosition | undefined
}

/** The place of an event in a log. */
export interface LogPosition extends Cursor {
  /** The tag of the event before it: who followed another branch of the log is told by it. */
  previousTag: number
  /** It marks a place where events may be missing that were acknowledged. It carries no event of the app's. */
  isMarker: boolean
}

/**
 * Why a cursor can't be followed. `failover`: acknowledged events may be missing behind it, and either the log has
 * only discontinuity markers from there on, or it can't be marked for now (`head.unproven`); without a cursor, the same is said of its end.
 * `diverged`, `expired` and `trimmed` prove that an event is missing.
 */
export type LogGap = 'epoch' | 'ahead' | 'diverged' | 'expired' | 'trimmed' | 'failover'

/** The end of a log: the last event's place, and where the state of the channel was then, if it ever had one. */
export interface LogHead extends Cursor {
  state?: StateVersion | undefined
  /** Whether acknowledged events may be missing behind it. Reading the log shows it: as a discontinuity marker, or as the gap `failover`. */
  unproven?: boolean
}

/** What was read of a log. */
export interface LogPage {
  /** The last event's place; offset 0 in an empty log. */
  head: LogHead
  /** Why the events after the cursor can't be read; there are no entries then. */
  gap?: LogGap | undefined
  /** Events in order, without a hole. After a cursor, there are more as long as the last one is before `head`. */
  entries: LogEntry[]
  /** Without a cursor: the position before the last `limit` events, if the page begins later because of `maxBytes`. */
  start?: Cursor | undefined
}

/** An event that has a place in a log. */
export type LogEntry = Envelope & { position: LogPosition }

/**
 * A log of the last events of each channel. A place in it is an epoch, that of the log; an offset, which counts events without a hole; and
 * a random tag, by which another event with the same offset is known to be another one.
 */
export interface EventLog {
  /**
   * Reads a page of at most `limit` events after a cursor; without a cursor, the last ones. Makes a log where there is
   * none, so that there is always a place to go on from; one without an event is kept while it is read, or compared
   * with `heads`, now and then. Rejects with `RT_LOG_UNAVAILABLE`.
   *
   * The payloads of a page have about `maxBytes` bytes at most, or it is one event. With a `maxBytes` of 0, and without
   * a cursor, it has no events and only says where the log ends, and in `start` where the last `limit` events begin. A
   * log that cannot count bytes ignores `maxBytes` and gives `limit` events: then their size is its own concern.
   */
  read(channel: string, after: Cursor | undefined, limit: number, maxBytes?: number): Promise<LogPage>
  /** The places of the last events of several channels; `undefined` where there is no log. Rejects with `RT_LOG_UNAVAILABLE`. */
  heads(channels: string[]): Promise<(LogHead | undefined)[]>
}

/** A capability of a provider that is a `ChannelFeed`, too: what it publishes can be read again. `logContract` checks it. */
export interface Replayable {
  /** `undefined` where history is turned off. */
  readonly eventLog: EventLog | undefined
}
