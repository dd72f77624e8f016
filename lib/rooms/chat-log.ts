import { formatCursor, positionBefore, type Cursor } from '../pubsub/cursor.ts'
import type { Logger } from '../core/logger.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { ByteBudget } from '../pubsub/byte-budget.ts'
import { EventRing } from '../pubsub/event-ring.ts'
import { RingLog } from '../pubsub/ring-log.ts'
import {
  logRecovered, logRepeated, type RecoverableFailure, type RepeatedFailure
} from '../observability/repeated-failure.ts'
import { ReplayBuffer, type EventWindow } from './replay-buffer.ts'
import type { ResetReason } from './frames.ts'
import { LogReplay } from './log-replay.ts'
import { LogPages, type LogPagesOptions } from './log-pages.ts'
import type { ReadGate } from './read-gate.ts'
import { LogFollower, type LogFollowerEvents } from './log-follower.ts'
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

/** What a chat log reports to its room. */
export interface ChatLogEvents {
  /** The next entry of the log. */
  entry (entry: LogEntry): void
  /** An event that is not in the log: it is ephemeral, or there is no log. */
  unlogged (envelope: Envelope): void
  /** Events before `at` are missing or may be missing. */
  reset (reason: ResetReason, at?: Cursor): void
  /** The head of the log was read; `undefined` if the log does not exist. */
  headRead (head: LogHead | undefined): void
}

const LOG_UNREADABLE: RecoverableFailure = {
  level: 'warn',
  message: 'The log of a chat cannot be read, trying again',
  recovered: 'The logs of chats can be read again'
}

const EVENT_UNREADABLE: RepeatedFailure = {
  level: 'warn',
  message: 'The log of a chat cannot be read, not even one event at a time, trying again. ' +
    'If Redis closes the connection, the event may be larger than its client-output-buffer-limit'
}

/** Number of events that a room keeps for clients that reconnect soon, unless a log in this process has as many. */
const MAX_RECENT = 256

/** The position until the log has been read. It is equal to no position in any log. */
const NOWHERE: Cursor = { epoch: '', offset: 0, tag: 0 }

/**
 * The log of one chat, as this instance follows it: its position, its last events, and the reads of its history. If the
 * provider keeps no log, it passes received events on without a position.
 */
export class ChatLog implements FeedListener {
  /** Handles what is reported about the log. It is a class, since a closure for each method would take more memory. */
  static readonly #LogEvents = class implements LogFollowerEvents, LogPagesOptions {
    readonly #chat: ChatLog

    constructor (chat: ChatLog) {
      this.#chat = chat
    }

    entry (entry: LogEntry): void {
      const chat = this.#chat
      chat.#keep(entry)
      chat.#recent?.dropFrames()
      chat.#events.entry(entry)
    }

    gap (reason: LogGap, at: Cursor): void {
      this.#chat.#skipTo(at, reason)
    }

    inSync (): void {
      this.#chat.#reportInSync()
    }

    readStarted (): void {
      this.#chat.#context.metrics.resyncs++
    }

    headRead (head: LogHead): void {
      this.#chat.#events.headRead(head)
    }

    readFailed ({ message }: Error): void {
      logRepeated(this.#chat.#context.log, LOG_UNREADABLE, { chatId: this.#chat.#chatId, reason: message })
    }

    isKnown (position: Cursor): boolean {
      return this.#chat.#isKnown(position)
    }

    onStuck ({ message }: Error): void {
      const context = { chatId: this.#chat.#chatId, reason: message, after: this.#chat.#formatPosition() }
      logRepeated(this.#chat.#context.log, EVENT_UNREADABLE, context)
    }
  }

  readonly #chatId: string
  readonly #channel: string
  readonly #context: ChatLogContext
  readonly #events: ChatLogEvents
  readonly #logFollower: LogFollower | undefined
  readonly #logEvents = new ChatLog.#LogEvents(this)
  #replay: LogReplay | undefined
  /** Called once the log is in sync: each resolves one promise of `whenInSync`. */
  #waiting: Set<() => void> | undefined
  /** The last events; `undefined` if there are none, or `#sharedLog` has them. Most chats are idle. */
  #ring: EventRing | undefined
  /** `undefined` until a client needs it. */
  #recent: ReplayBuffer | undefined
  /** `pending` until the subscription is active for the first time. */
  #subscription: 'pending' | 'live' | 'lost' = 'pending'

  constructor (chatId: string, channel: string, context: ChatLogContext, events: ChatLogEvents) {
    this.#chatId = chatId
    this.#channel = channel
    this.#context = context
    this.#events = events
    if (context.eventLog === undefined) return
    this.#logFollower = new LogFollower(this.#newPages(context.eventLog), this.#logEvents)
  }

  /**
   * Reads the history of the log for clients; `undefined` if there is no log. Its pages are not those of the follower,
   * since each counts its own failures: a successful read of the head does not prove that the page of a client can be
   * read.
   */
  get replay (): LogReplay | undefined {
    const { eventLog, historySize, replays } = this.#context
    if (eventLog === undefined) return undefined
    this.#replay ??= new LogReplay(this.#chatId, this.#newPages(eventLog), historySize, replays)
    return this.#replay
  }

  /** True if no event published so far is missing. */
  get inSync (): boolean {
    return this.#logFollower === undefined ? this.#subscription === 'live' : this.#logFollower.inSync
  }

  /** True if acknowledged events may be missing, and no discontinuity marker can be written at the moment. */
  get isUnproven (): boolean {
    return this.#logFollower?.isUnproven === true
  }

  /** The position of the last event; `undefined` if there is no log, or it has not been read yet. */
  get position (): Cursor | undefined {
    return this.#logFollower?.position
  }

  /** The last events that are in memory, up to `position`. */
  get recent (): ReplayBuffer {
    this.#recent ??= new ReplayBuffer(this.#chatId, () => this.#recentEvents(), this.#context.replays)
    return this.#recent
  }

  /** Resolves once the log is in sync, or when the stream closes. */
  whenInSync (stream: EventSink): Promise<void> {
    return new Promise((resolve) => {
      const stopWaiting = (): void => {
        removeCallback()
        this.#waiting?.delete(stopWaiting)
        resolve()
      }
      const removeCallback = stream.onClose(stopWaiting)
      this.#waiting ??= new Set()
      this.#waiting.add(stopWaiting)
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
      this.#reportInSync()
    } else if (wasLost) {
      // After a reconnect, `live` is called for all chats at once. The delay spreads their reads over time.
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
      this.#logFollower.receive(envelope as LogEntry)
    } else if (envelope.position?.isMarker === true) {
      this.#events.reset('failover')
    } else {
      this.#events.unlogged(envelope)
    }
  }

  /**
   * Returns true if the log is in sync and no entry was received since the last call. Events that are not in the log do
   * not count: their loss leaves no gap in it.
   */
  checkQuiet (): boolean {
    return this.#logFollower?.checkQuiet() === true
  }

  /** Reads the log if it has another head than this instance knows. */
  reconcile (head: LogHead | undefined): void {
    this.#logFollower?.reconcile(head)
    this.#events.headRead(head)
  }

  close (): void {
    this.#logFollower?.close()
    this.#ring?.clear()
    this.#recent?.dropFrames()
    this.#replay?.dropLastPage()
  }

  #reportInSync (): void {
    logRecovered(this.#context.log, LOG_UNREADABLE)
    for (const stopWaiting of this.#waiting ?? []) stopWaiting()
    this.#waiting = undefined
  }

  #skipTo (position: Cursor, reason: LogGap): void {
    this.#ring?.clear()
    this.#ring = undefined
    this.#recent?.dropFrames()
    this.#replay?.dropLastPage()
    this.#events.reset(reason, position)
  }

  #isKnown (position: Cursor): boolean {
    const isKnown = this.recent.has(position)
    if (isKnown) this.#context.metrics.duplicates.add('received')
    return isKnown
  }

  /** Keeps an event for clients that reconnect soon, unless they find it in the log of this process. */
  #keep (entry: LogEntry): void {
    if (this.#sharedLog !== undefined) return
    this.#ring ??= new EventRing(
      positionBefore(entry.position), { capacity: MAX_RECENT, bytes: budgets.replay, budget: this.#context.replays }
    )
    this.#ring.push(entry)
  }

  /** The log, if it is in this process and keeps at least as many events as a room would. */
  get #sharedLog (): RingLog | undefined {
    const { eventLog } = this.#context
    return eventLog instanceof RingLog && eventLog.capacity >= MAX_RECENT ? eventLog : undefined
  }

  /** The last events, up to the position: a log in this process has an event before the room writes it. */
  #recentEvents (): EventWindow {
    const { position = NOWHERE } = this
    const ring = this.#ring ?? this.#sharedLog?.ring(this.#channel)
    const end = ring?.indexAfter(position)
    // The log may have dropped the position, or it may be another log by now.
    return ring === undefined || end === undefined ? { ring: new EventRing(position), end: 0 } : { ring, end }
  }

  #newPages (eventLog: EventLog): LogPages {
    return new LogPages(this.#channel, eventLog, this.#context.reads, this.#logEvents)
  }

  #formatPosition (): string | undefined {
    const { position } = this
    return position && formatCursor(position)
  }
}
