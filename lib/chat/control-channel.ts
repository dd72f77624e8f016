import { outsideRequests } from '../core/async-context.ts'
import { notifyEach } from '../core/listeners.ts'
import { parseJson } from '../core/json.ts'
import type { Logger } from '../core/logger.ts'
import type { ControlFeed } from '../pubsub/control-feed.ts'
import { RepeatingTimer } from '../core/repeating-timer.ts'
import {
  logRecovered, logRepeated, originOf, type RecoverableFailure, type RepeatedFailure
} from '../observability/repeated-failure.ts'
import { LogPages } from '../rooms/log-pages.ts'
import { ReadGate } from '../rooms/read-gate.ts'
import { LogFollower } from '../rooms/log-follower.ts'
import { budgets } from '../core/budgets.ts'
import { timing } from '../core/timing.ts'
import type { FeedListener } from '../pubsub/channel-feed.ts'
import type { Envelope, EventLog, LogEntry } from '../pubsub/event-log.ts'

const LISTENER_FAILED: RepeatedFailure = {
  level: 'error',
  message: 'A message of the control channel could not be handled'
}

const NOT_JSON: RepeatedFailure = { level: 'error', message: 'A message of the control channel is not JSON' }
const LOG_UNREADABLE: RecoverableFailure = {
  level: 'warn',
  message: 'The log of the control channel cannot be read, trying again',
  recovered: 'The log of the control channel can be read again'
}

interface ControlChannelOptions {
  /** Name of the channel, among the plugin's own channels. */
  channel: string
  feed: ControlFeed
  log: Logger
}

/** Listens to a control channel. */
interface ControlListener<T> {
  /** Called with each message of any instance, including this one. It may be called twice for one message. */
  message (message: T): unknown
  /**
   * Called each time the channel is in sync again: every message so far has been received, or `continuity` has
   * changed.
   */
  synced? (): void
}

/**
 * A channel for messages between instances that must not be lost, such as revocations. It follows the log of the
 * channel, so an interruption alone loses nothing. `continuity` changes if completeness cannot be proven: the channel
 * has just been opened; its log was trimmed, has expired or was lost; Redis was replaced; or the provider keeps no
 * log. Messages published before such a change may have been missed.
 */
export class ControlChannel<T> implements FeedListener {
  readonly #options: ControlChannelOptions
  readonly #messageListeners = new Set<(message: T) => unknown>()
  readonly #syncedListeners = new Set<() => void>()
  /** Resolve the promises of `whenStarted`. */
  readonly #starting = new Set<() => void>()
  /** Closes the channel; `undefined` while it is closed. */
  #close: (() => void) | undefined
  /** `undefined` while the channel is closed, or if the provider keeps no log. */
  #logFollower: LogFollower | undefined
  #continuity = 0
  /** True once the channel has a position in the log; without a log, while the subscription is active. */
  #started = false

  constructor (options: ControlChannelOptions) {
    this.#options = options
  }

  /** True if every message published so far has been received. */
  get inSync (): boolean {
    return this.#logFollower === undefined ? this.#started : this.#logFollower.inSync
  }

  /**
   * Changes when messages may have been missed. Messages that arrive late, when the channel is in sync again, do not
   * count as missed. 0 until the channel has a position in the log for the first time.
   */
  get continuity (): number {
    return this.#continuity
  }

  /**
   * Adds a listener. The first one opens the channel. Returns a function that removes it; removing the last one closes
   * the channel.
   */
  watch ({ message, synced = ignore }: ControlListener<T>): () => void {
    this.#messageListeners.add(message)
    // Add `synced` after the channel is opened, so that it is never called before this call has returned.
    this.#close ??= outsideRequests(() => this.#open())
    this.#syncedListeners.add(synced)
    return () => {
      this.#messageListeners.delete(message)
      this.#syncedListeners.delete(synced)
      if (this.#messageListeners.size === 0) this.close()
    }
  }

  /**
   * Resolves once the channel has a position in the log: messages published from then on are not missed. Returns
   * `undefined` if it has one already.
   */
  whenStarted (): Promise<void> | undefined {
    if (this.#started) return undefined
    return new Promise((resolve) => { this.#starting.add(resolve) })
  }

  /**
   * Passes a message to the listeners of this instance, then publishes it to the others. Rejects as
   * `PubSubProvider.publish` does.
   */
  async publish (message: T & object): Promise<void> {
    this.#notify(this.#messageListeners, (listener) => listener(message))
    await this.#options.feed.publish(this.#options.channel, message)
  }

  close (): void {
    this.#close?.()
    this.#close = undefined
    this.#messageListeners.clear()
    this.#syncedListeners.clear()
    this.#logFollower = undefined
    this.#started = false
  }

  // The provider calls the next three methods: see `FeedListener`.

  live (): void {
    if (this.#logFollower !== undefined) {
      this.#logFollower.live()
    } else {
      this.#start()
      this.#reportInSync()
    }
  }

  lost (): void {
    // Without a log, messages published from now on are missed.
    if (this.#logFollower === undefined) this.#started = false
    else this.#logFollower.lost()
  }

  receive (envelope: Envelope): void {
    if (this.#logFollower === undefined || envelope.position === undefined) return this.#handle(envelope)
    this.#logFollower.receive(envelope as LogEntry)
    // The follower holds the message until the log has been read. A revocation must not wait: handle the message now,
    // and again when the follower reports it.
    if (!this.#logFollower.inSync) this.#handle(envelope)
  }

  #open (): () => void {
    const { channel, feed } = this.#options
    const { eventLog } = feed
    if (eventLog === undefined) return feed.follow(channel, this)
    const follower = this.#logFollower = this.#newFollower(eventLog)
    const unfollow = feed.follow(channel, this)
    follower.sync()
    const idleCheck = new RepeatingTimer(timing.idleCheck, () => this.#reconcile(follower, eventLog))
    idleCheck.start()
    return () => {
      idleCheck.stop()
      unfollow()
      follower.close()
    }
  }

  #newFollower (eventLog: EventLog): LogFollower {
    const { channel, log } = this.#options
    // Streams may wait for these reads to be admitted. So they have a gate of their own and are retried soon.
    const pages = new LogPages(channel, eventLog, new ReadGate(budgets.page), { longestRetry: timing.resyncRetry })
    return new LogFollower(pages, {
      started: () => this.#start(),
      entry: (entry) => {
        if (entry.position.isMarker) this.#handleMarker()
        else this.#handle(entry)
      },
      gap: () => { this.#continuity++ },
      inSync: () => this.#reportInSync(),
      readFailed: ({ message }) => logRepeated(log, LOG_UNREADABLE, { channel, reason: message })
    })
  }

  #start (): void {
    if (this.#started) return
    this.#started = true
    this.#continuity++
    for (const resolve of this.#starting) resolve()
    this.#starting.clear()
  }

  /**
   * Messages before a discontinuity marker may be missing. If the marker was read from the log, listeners are notified
   * when the channel is in sync; otherwise it is in sync already, and they are notified here.
   */
  #handleMarker (): void {
    this.#continuity++
    if (this.inSync) this.#reportInSync()
  }

  #reportInSync (): void {
    logRecovered(this.#options.log, LOG_UNREADABLE)
    this.#notify(this.#syncedListeners, (listener) => listener())
  }

  /**
   * Compares a quiet channel with its log. The last message before a silence can be lost, and so can the whole log,
   * and no later message would reveal it.
   */
  async #reconcile (follower: LogFollower, eventLog: EventLog): Promise<void> {
    if (!follower.checkQuiet()) return
    try {
      const [head] = await eventLog.heads([this.#options.channel])
      if (head === undefined) follower.sync()
      else follower.reconcile(head)
    } catch {
      // Redis is unavailable. The log is read anyway once the subscription is restored.
    }
  }

  #handle ({ json }: Envelope): void {
    let message: T
    try {
      // The type is not checked. A listener that gets something else throws, and that is logged.
      message = parseJson(json) as T
    } catch {
      // The error is not logged, since it would quote the message.
      logRepeated(this.#options.log, NOT_JSON, { channel: this.#options.channel })
      return
    }
    this.#notify(this.#messageListeners, (listener) => listener(message))
  }

  #notify<Listener> (listeners: ReadonlySet<Listener>, call: (listener: Listener) => unknown): void {
    const { channel, log } = this.#options
    notifyEach(listeners, call, (err) => logRepeated(log, LISTENER_FAILED, { channel, err }, originOf(err)))
  }
}

function ignore (): void {}
