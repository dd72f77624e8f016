import { formatCursor, positionBefore, sameCursor, type Cursor } from '../pubsub/cursor.ts'
import type { Logger } from '../core/logger.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { ByteBudget } from '../pubsub/byte-budget.ts'
import {
  logRecovered, logRepeated, type RecoverableFailure, type RepeatedFailure
} from '../observability/repeated-failure.ts'
import { ReplayBuffer } from './replay-buffer.ts'
import type { ResetReason } from './frames.ts'
import { LogReplay } from './log-replay.ts'
import { LogPages } from './log-pages.ts'
import type { ReadGate } from './read-gate.ts'
import { LogFollower } from './log-follower.ts'
import type { EventSink } from './event-sink.ts'
import { budgets } from '../core/budgets.ts'
import { timing } from '../core/timing.ts'
import type { FeedListener } from '../pubsub/channel-feed.ts'
import type { Envelope, EventLog, LogGap, LogEntry, LogHead } from '../pubsub/event-log.ts'

/** The context that the logs of all chats on an instance share. */
export interface ChatLogContext {
  log: Logger
  metrics: Metrics
  /** The log of the provider, if it keeps one. */
  eventLog: EventLog | undefined
  /** Events that the provider keeps per chat. */
  historySize: number
  /** Limits shared by all chats of an instance: concurrent reads, and memory for clients that reconnect. */
  reads: ReadGate
  replays: ByteBudget
}

/** The events that a log reports to its room. */
export interface ChatLogEvents {
  /** The next entry of the log. */
  entry (entry: LogEntry): void
  /** An event that is not followed through a log: it is ephemeral, or there is no log. */
  event (envelope: Envelope): void
  /** Events before `at` are missing or may be missing. */
  reset (reason: ResetReason, at?: Cursor): void
  /** The log was read, or compared with its head. */
  read (head: LogHead | undefined): void
}

const READING_LOG: RecoverableFailure = {
  level: 'warn',
  message: 'The log of a chat cannot be read, trying again',
  recovered: 'The logs of chats can be read again'
}

const STUCK: RepeatedFailure = {
  level: 'warn',
  message: 'The log of a chat cannot be read, not even one event at a time, trying again. ' +
    'If Redis closes the connection, the event may be larger than its client-output-buffer-limit'
}

/** Frames kept for clients that reconnect soon. */
const RECENT = 256

/** Follows the log of one chat on this instance. If the provider keeps no log, it passes on what it receives. */
export class ChatLog implements FeedListener {
  /** Reads the history of the log for clients; `undefined` if there is no log. */
  readonly replay: LogReplay | undefined
  readonly #chatId: string
  readonly #context: ChatLogContext
  readonly #events: ChatLogEvents
  readonly #logFollower: LogFollower | undefined
  readonly #waiting = new Set<() => void>()
  #recent: ReplayBuffer
  /** `pending` until the subscription is active for the first time. */
  #subscription: 'pending' | 'live' | 'lost' = 'pending'
  /** True if no event of the log has been received since the last call of `takeQuiet`. */
  #quiet = false

  constructor (chatId: string, channel: string, context: ChatLogContext, events: ChatLogEvents) {
    this.#chatId = chatId
    this.#context = context
    this.#events = events
    this.#recent = this.#newReplayBuffer({ epoch: '', offset: 0, tag: 0 })
    if (context.eventLog === undefined) return
    const { log, metrics, eventLog, reads } = context
    const makePages = (): LogPages => new LogPages(channel, eventLog, reads, {
      onStuck: ({ message }) => logRepeated(log, STUCK, { chatId, reason: message, after: this.#formatPosition() })
    })
    // Separate pages, since each counts its own failures: a successful read of the head does not prove that the page of
    // a client can be read.
    this.replay = new LogReplay(chatId, makePages(), context.historySize, context.replays)
    this.#logFollower = new LogFollower(makePages(), {
      event: (entry) => this.#next(entry),
      gap: (reason, at) => this.#jump(reason, at),
      reading: () => { metrics.resyncs++ },
      read: (head) => events.read(head),
      inSync: () => this.#inSyncAgain(),
      isKnown: (cursor) => this.#isKnown(cursor),
      failed: ({ message }) => logRepeated(log, READING_LOG, { chatId, reason: message })
    })
  }

  /** True if no published event is missed. */
  get inSync (): boolean {
    return this.#logFollower === undefined ? this.#subscription === 'live' : this.#logFollower.inSync
  }

  /**
   * True if acknowledged events may be missing after any position, and no discontinuity marker can be written for now.
   */
  get isUnproven (): boolean {
    return this.#logFollower?.isUnproven === true
  }

  /** The position of the last event; `undefined` if there is no log. */
  get position (): Cursor | undefined {
    return this.#logFollower?.position
  }

  /** The last frames, up to `position`. */
  get recent (): ReplayBuffer {
    return this.#recent
  }

  /** Resolves once the log is in sync, or when the stream closes. */
  whenInSync (stream: EventSink): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        off()
        this.#waiting.delete(done)
        resolve()
      }
      const off = stream.onClose(done)
      this.#waiting.add(done)
    })
  }

  /** Reads the log to its end. */
  async sync (): Promise<void> {
    await this.#logFollower?.sync()
  }

  live (): void {
    const wasLost = this.#subscription === 'lost'
    this.#subscription = 'live'
    if (this.#logFollower === undefined) {
      // Without a log, missed events can't be read.
      if (wasLost) this.#events.reset('failover')
      this.#inSyncAgain()
    } else if (wasLost) {
      // After a reconnect all chats are live at the same time, so their reads are spread over time.
      setTimeout(() => {
        if (this.#subscription === 'live') this.#logFollower?.live()
      }, Math.random() * timing.resyncSpread).unref()
    } else {
      this.#logFollower.live()
    }
  }

  lost (): void {
    if (this.#subscription === 'live') this.#subscription = 'lost'
    this.#logFollower?.lost()
  }

  receive (envelope: Envelope, remote: boolean): void {
    if (remote) this.#context.log.debug({ chatId: this.#chatId, from: envelope.from }, 'Forwarded remote chat event')
    if (envelope.position !== undefined && this.#logFollower !== undefined) {
      this.#quiet = false
      this.#logFollower.receive(envelope as LogEntry)
    } else if (envelope.position?.isMarker === true) {
      this.#events.reset('failover')
    } else {
      this.#events.event(envelope)
    }
  }

  /**
   * Returns true if the log is in sync and no event of it was received since the last call. Events without a position
   * do not count, since losing one leaves no gap in the log.
   */
  takeQuiet (): boolean {
    const quiet = this.#quiet
    this.#quiet = true
    return quiet && this.#logFollower?.inSync === true
  }

  /** Compares the position with the head of the log. */
  reconcile (head: LogHead | undefined): void {
    this.#logFollower?.reconcile(head)
    this.#events.read(head)
  }

  close (): void {
    this.#logFollower?.close()
    this.#recent.clear()
    this.replay?.forget()
  }

  #inSyncAgain (): void {
    logRecovered(this.#context.log, READING_LOG)
    const { position } = this
    if (position !== undefined && !sameCursor(this.#recent.head, position)) this.#restart(position)
    for (const done of this.#waiting) done()
  }

  #next (entry: LogEntry): void {
    if (this.#recent.head.epoch === '') this.#restart(positionBefore(entry.position))
    this.#recent.push(entry)
    this.#events.entry(entry)
  }

  #jump (reason: LogGap, at: Cursor): void {
    this.#restart(at)
    this.replay?.forget()
    this.#events.reset(reason, at)
  }

  #isKnown (cursor: Cursor): boolean {
    const known = this.#recent.has(cursor)
    if (known) this.#context.metrics.duplicates.add('received')
    return known
  }

  /** Starts an empty replay buffer at a position. */
  #restart (at: Cursor): void {
    this.#recent.clear()
    this.#recent = this.#newReplayBuffer(at)
  }

  #newReplayBuffer (base: Cursor): ReplayBuffer {
    return new ReplayBuffer(
      this.#chatId, base, { capacity: RECENT, bytes: budgets.replay, budget: this.#context.replays }
    )
  }

  #formatPosition (): string | undefined {
    const { position } = this
    return position && formatCursor(position)
  }
}
