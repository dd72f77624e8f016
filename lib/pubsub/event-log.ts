import type { Cursor } from './cursor.ts'
import type { StateVersion } from './state-store.ts'

/** A message in transit: all that a receiver needs to forward it, with its JSON unparsed. */
export interface Envelope {
  /** The publisher's `instanceId`. */
  from: string
  /** Milliseconds since 1970. */
  timestamp: number
  /** The event name of its SSE frame: the payload's `type`, or `message`. */
  event: string
  /** The payload: JSON on one line. */
  json: string
  /** A W3C `traceparent`, if the publisher gave one. */
  traceparent?: string | undefined
  /** The position in the channel's log. Absent for ephemeral messages, and if the provider keeps no log. */
  position?: LogPosition | undefined
}

/** The position of an event in a log. */
export interface LogPosition extends Cursor {
  /**
   * The tag of the previous event. After a failover, two events may have had the same offset. A reader of the lost one
   * notices that by this tag.
   */
  previousTag: number
  /** Whether it is a discontinuity marker: acknowledged events may be missing before it. It carries no app event. */
  isMarker: boolean
}

/**
 * Why the events after a cursor can't be read, or those before one:
 *
 * - `epoch`: the cursor belongs to another log, which was lost.
 * - `ahead`: the cursor is beyond the end of the log.
 * - `diverged`: the log has another event at the cursor's offset.
 * - `expired`: events followed the cursor, but all of them have expired.
 * - `trimmed`: the next events were dropped; later ones still exist.
 * - `failover`: acknowledged events may be missing after the cursor. Either only discontinuity markers follow it, or no
 *   marker can be written at the moment (`head.unproven`). In the second case, a read without a cursor returns it, too.
 *
 * `diverged`, `expired` and `trimmed` prove that an event is missing. The others don't.
 */
export type LogGap = 'epoch' | 'ahead' | 'diverged' | 'expired' | 'trimmed' | 'failover'

/** The end of a log: the last event's position, and the version of the channel's state at that time, if it had one. */
export interface LogHead extends Cursor {
  state?: StateVersion | undefined
  /**
   * Whether acknowledged events may be missing after it. A read of the log then returns a discontinuity marker or the
   * gap `failover`.
   */
  unproven?: boolean
}

/** One page of a log. */
export interface LogPage {
  /** The last event's position; offset 0 in an empty log. */
  head: LogHead
  /** Why the events next to the cursor can't be read. If it is set, a read with a cursor returns no entries. */
  gap?: LogGap | undefined
  /** Events in order, without a hole. After a cursor, more events follow if the last entry is before `head`. */
  entries: LogEntry[]
  /** Without a cursor: the position before the last `limit` events, if the page begins later because of `maxBytes`. */
  start?: Cursor | undefined
}

/** An event with its position in a log. */
export type LogEntry = Envelope & { position: LogPosition }

/**
 * A log of the last events of each channel. A position in it has three parts: the epoch of the log; an offset, which
 * counts events without a hole; and a random tag, which distinguishes different events with the same offset.
 */
export interface EventLog {
  /**
   * Reads a page of at most `limit` events after a cursor, or of the last events without a cursor. Creates the log if
   * there is none, so that there is always a position to continue from. A log without events is dropped when it has
   * not been read, or polled with `heads`, for a while. Rejects with `RT_LOG_UNAVAILABLE`.
   *
   * With `before`, only events before that cursor are read: the first ones after `after`, or the last ones without it.
   * The event of `before` is not part of the page, but the log must still have it, since its tag proves that the cursor
   * is a position in this log.
   *
   * The payloads of a page have about `maxBytes` bytes at most, unless the page is a single event. With a `maxBytes` of
   * 0 and without a cursor, the page has no events; it only gives the end of the log, and in `start` the position
   * before the last `limit` events. A log that cannot count bytes ignores `maxBytes` and returns up to `limit` events;
   * it must then limit their size itself.
   */
  read (
    channel: string, after: Cursor | undefined, limit: number, maxBytes?: number, before?: Cursor
  ): Promise<LogPage>
  /** Returns the heads of several logs; `undefined` for channels without a log. Rejects with `RT_LOG_UNAVAILABLE`. */
  heads(channels: string[]): Promise<(LogHead | undefined)[]>
}

/**
 * A capability of a provider that is also a `ChannelFeed`: its published messages can be read again. `logContract`
 * checks it.
 */
export interface Replayable {
  /** `undefined` if history is turned off. */
  readonly eventLog: EventLog | undefined
}
