import { outsideRequests } from '../core/async-context.ts'
import { ListenerSet } from '../core/listener-set.ts'
import { parseJson } from '../core/json.ts'
import type { Logger } from '../core/logger.ts'
import type { ControlFeed } from '../pubsub/control-feed.ts'
import { RepeatingTimer } from '../core/repeating-timer.ts'
import { logRecovered, logRepeated, originOf, type RecoverableFailure, type RepeatedFailure } from '../observability/repeated-failure.ts'
import { LogPages } from '../rooms/log-pages.ts'
import { ReadGate } from '../rooms/read-gate.ts'
import { LogFollower } from '../rooms/log-follower.ts'
import { budgets } from '../core/budgets.ts'
import { timing } from '../core/timing.ts'
import type { FeedListener } from '../pubsub/channel-feed.ts'
import type { Envelope, EventLog, LogEntry } from '../pubsub/event-log.ts'

const HANDLING: RepeatedFailure = { level: 'error', message: 'A message of the control channel could not be handled' }
const NOT_JSON: RepeatedFailure = { level: 'error', message: 'A message of the control channel is not JSON' }
const READING: RecoverableFailure = {
  level: 'warn',
  message: 'The log of the control channel can\'t be read, trying again',
  recovered: 'The log of the control channel can be read again'
}

export interface ControlChannelOptions {
  /** What it is called among the channels of the plugin's own. */
  channel: string
  feed: ControlFeed
  log: Logger
}

/** Listens to a control channel. */
export interface ControlListener<T> {
  /** A message of any instance, also of this one. It can come twice. */
  message (message: T): unknown
  /** Every message until now has come, or `continuity` has changed. Called each time that the channel is in sync again. */
  synced? (): void
}

/**
 * A channel on which instances say to each other what must not be lost, such as whose access is revoked. It follows the log of the channel, so that
 * an interruption alone loses nothing. Where that cannot be proven (the channel has just been opened; its log was trimmed, has expired or was
 * lost; Redis was replaced; the provider keeps no log), `continuity` changes: what was published before is unknown from then on.
 */
export class ControlChannel<T> implements FeedListener {
  readonly #options: ControlChannelOptions
  readonly #handlers: ListenerSet<[T]>
  readonly #synced = new Set<() => void>()
  readonly #starting = new Set<() => void>()
  #close: (() => void) | undefined
  #logFollower: LogFollower | undefined
  #continuity = 0
  #started = false
  #live = false
  /** Whether no message has come since the last comparison with the log. */
  #quiet = false

  constructor (options: ControlChannelOptions) {
    this.#options = options
    const { channel, log } = options
    this.#handlers = new ListenerSet((err) => logRepeated(log, HANDLING, { channel, err }, originOf(err)))
  }

  /** Whether every message that was published until now has come. */
  get inSync (): boolean {
    return this.#logFollower === undefined ? this.#live : this.#logFollower.inSync
  }

  /**
   * Stays the same for as long as no message is missed, apart from those that come once it is in sync again. 0 before it has a position in the log
   * for the first time.
   */
  get continuity (): number {
    return this.#continuity
  }

  /** Adds a listener. The first one opens the channel. Returns a function that removes it; the last one closes the channel. */
  watch ({ message, synced = ignore }: ControlListener<T>): () => void {
    this.#handlers.add(message)
    // Within this call the listener could not ask for the state yet.
    this.#close ??= outsideRequests(() => this.#open())
    this.#synced.add(synced)
    return () => {
      this.#handlers.delete(message)
      this.#synced.delete(synced)
      if (this.#handlers.size === 0) this.close()
    }
  }

  /** Resolves once it has a position in the log: nothing that is published from then on is missed. `undefined` where it has. */
  whenStarted (): Promise<void> | undefined {
    if (this.#started) return undefined
    return new Promise((resolve) => { this.#starting.add(resolve) })
  }

  /** Hands a message to the listeners of this instance, then publishes it to the others. Rejects as `PubSubProvider.publish` does. */
  async publish (message: T & object): Promise<void> {
    this.#handlers.run(message)
    await this.#options.feed.publish(this.#options.channel, message)
  }

  close (): void {
    this.#close?.()
    this.#close = undefined
    this.#handlers.clear()
    this.#synced.clear()
    this.#logFollower = undefined
    this.#live = this.#started = false
  }

  // What the provider reports: see FeedListener.

  live (): void {
    this.#live = true
    if (this.#logFollower !== undefined) {
      this.#logFollower.live()
    } else {
      this.#start()
      this.#inSyncAgain()
    }
  }

  lost (): void {
    this.#live = false
    // Without a log what is published from now on is missed.
    if (this.#logFollower === undefined) this.#started = false
    else this.#logFollower.lost()
  }

  receive (envelope: Envelope): void {
    this.#quiet = false
    if (this.#logFollower === undefined || envelope.position === undefined) return this.#handle(envelope)
    this.#logFollower.receive(envelope as LogEntry)
    // It waits for its turn, which may take as long as the log can't be read: it is handled at once, and again then.
    if (!this.#logFollower.inSync) this.#handle(envelope)
  }

  #open (): () => void {
    const { channel, feed } = this.#options
    const { eventLog: log } = feed
    const logFollower = this.#logFollower = log && this.#follow(log)
    const unfollow = feed.follow(channel, this)
    logFollower?.open()
    const poll = log && new RepeatingTimer(timing.idleCheck, () => this.#reconcile(log))
    poll?.start()
    return () => {
      poll?.stop()
      unfollow()
      logFollower?.close()
    }
  }

  #follow (events: EventLog): LogFollower {
    const { channel, log } = this.#options
    // Its reads wait for no chat's, and are tried again soon: admission may depend on them.
    const pages = new LogPages(channel, events, new ReadGate(budgets.page), { longestRetry: timing.resyncRetry })
    return new LogFollower(pages, {
      event: (entry) => {
        if (entry.position.isMarker) this.#handleMarker()
        else this.#handle(entry)
      },
      gap: () => { this.#continuity++ },
      reading () {},
      read: () => this.#start(),
      inSync: () => this.#inSyncAgain(),
      // One that comes twice costs a reading.
      isKnown: () => false,
      failed: ({ message }) => logRepeated(log, READING, { channel, reason: message })
    })
  }

  #start (): void {
    if (this.#started) return
    this.#started = true
    this.#continuity++
    for (const resolve of this.#starting) resolve()
    this.#starting.clear()
  }

  /** Messages before a marker may be missing. One that is received rather than read comes while the channel is in sync. */
  #handleMarker (): void {
    this.#continuity++
    if (this.inSync) this.#inSyncAgain()
  }

  #inSyncAgain (): void {
    logRecovered(this.#options.log, READING)
    for (const synced of this.#synced) synced()
  }

  /** The last message before a silence can be lost, and so can the whole log: no next message shows it. */
  async #reconcile (log: EventLog): Promise<void> {
    const quiet = this.#quiet
    this.#quiet = true
    if (!quiet || !this.inSync) return
    try {
      const [head] = await log.heads([this.#options.channel])
      if (head === undefined) this.#logFollower?.sync()
      else this.#logFollower?.reconcile(head)
    } catch {
      // Redis is away: once the subscription is back, the log is read anyway.
    }
  }

  #handle ({ json }: Envelope): void {
    let message: T
    try {
      message = parseJson(json) as T // JSON can't prove its type: a listener that is given something else throws, and that is logged.
    } catch {
      // Not with the error, which would quote it.
      logRepeated(this.#options.log, NOT_JSON, { channel: this.#options.channel })
      return
    }
    this.#handlers.run(message)
  }
}

function ignore (): void {}
