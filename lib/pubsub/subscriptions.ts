import { bindContext } from '../core/async-context.ts'
import type { Logger } from '../core/logger.ts'
import type { PubSubHandler, PubSubMessage } from './provider.ts'
import { RealtimeError, kindOf } from '../errors.ts'
import { formatCursor } from './cursor.ts'
import { parseJson } from '../core/json.ts'
import { ListenerMap, notifyEach } from '../core/listeners.ts'
import { logRepeated, originOf, type RepeatedFailure } from '../observability/repeated-failure.ts'
import { checkChannel } from './names.ts'
import { compileGlob } from './glob.ts'
import type { FeedListener } from './channel-feed.ts'
import type { Envelope } from './event-log.ts'

const HANDLER: RepeatedFailure = { level: 'error', message: 'A handler of a published message failed' }

/** A message on its way to the subscribers of this process. */
interface Delivery {
  channel: string
  envelope: Envelope
  /** Whether another instance published it. */
  remote: boolean
}

/**
 * The subscribers that a delivery is for. Redis sends a message once for the channel, and once for each pattern that
 * matches it, so each copy is delivered to a part of the subscribers only.
 */
export type Recipients = 'everyone' | 'channel' | { redisPattern: string }

/** `message` parses the payload on its first call only. All handlers get the same object. */
type Handler = (delivery: Delivery, message: () => PubSubMessage) => unknown

/** The handlers of a channel or of a pattern. */
type Subscription = [name: string, handlers: ReadonlySet<Handler>]

interface Pattern {
  matches: (channel: string) => boolean
  /** The pattern that Redis knows. It may match more channels than `matches`. */
  redisPattern: string
}

/** The subscriptions of this process. Both built-in providers use it, so that they call handlers in the same way. */
export class Subscriptions {
  readonly #channels: ListenerMap<Handler>
  readonly #patterns: ListenerMap<Handler>
  readonly #compiled = new Map<string, Pattern>()
  /** Those that receive messages unparsed. */
  readonly #feeds: ListenerMap<FeedListener>
  readonly #toRedisPattern: (pattern: string) => string
  readonly #report: (error: unknown, subscription: string) => void

  constructor (log: Logger, toRedisPattern = (pattern: string): string => pattern) {
    this.#toRedisPattern = toRedisPattern
    this.#report = (err, subscription) => logRepeated(log, HANDLER, { subscription, err }, originOf(err))
    this.#channels = new ListenerMap(this.#report)
    this.#patterns = new ListenerMap(this.#report)
    this.#feeds = new ListenerMap(this.#report)
  }

  /**
   * Adds a handler for one channel. Returns a function that removes it. Throws `RT_CHANNEL_INVALID` or
   * `RT_HANDLER_INVALID`.
   */
  addHandler (channel: string, handler: PubSubHandler<never>): () => void {
    return this.#channels.add(checkChannel(channel), bindHandler(handler))
  }

  /**
   * Adds a handler for all channels that match a glob. Returns a function that removes it. Throws `RT_CHANNEL_INVALID`
   * or `RT_HANDLER_INVALID`.
   */
  addPattern (pattern: string, handler: PubSubHandler<never>): () => void {
    const call = bindHandler(handler)
    if (!this.#compiled.has(checkChannel(pattern))) {
      this.#compiled.set(pattern, { matches: compileGlob(pattern), redisPattern: this.#toRedisPattern(pattern) })
    }
    const remove = this.#patterns.add(pattern, call)
    return () => {
      remove()
      if (this.#patterns.get(pattern) === undefined) this.#compiled.delete(pattern)
    }
  }

  /**
   * Adds a listener that receives messages unparsed. A listener that is added twice is called twice. If the channel is
   * already live, `live` is called in a microtask. Returns a function that removes the listener. Throws
   * `RT_CHANNEL_INVALID`.
   */
  addFeedListener (channel: string, listener: FeedListener, isLive: () => boolean): () => void {
    const isAdded = this.#feeds.get(checkChannel(channel))?.has(listener) === true
    let remove: (() => void) | undefined = this.#feeds.add(channel, isAdded ? wrapped(listener) : listener)
    // Kept only until it was called, since there is one for each open chat.
    let check: (() => boolean) | undefined = isLive
    queueMicrotask(() => {
      const live = check?.() === true
      check = undefined
      if (live) listener.live()
    })
    return () => {
      check = undefined
      remove?.()
      // A second call must not remove the listener if it was added again.
      remove = undefined
    }
  }

  /** Calls `live` or `lost` of the channel's feed listeners. */
  notify (channel: string, event: 'live' | 'lost'): void {
    this.#feeds.notify(channel, (listener) => listener[event]())
  }

  stats (): { channels: number, patterns: number } {
    const withHandlersOnly = this.#channels.keys().filter((channel) => this.#feeds.get(channel) === undefined)
    return { channels: this.#feeds.size + withHandlersOnly.length, patterns: this.#patterns.size }
  }

  /** Removes all listeners, including those that a delivery in progress has not reached yet. */
  clear (): void {
    this.#channels.clear()
    this.#patterns.clear()
    this.#compiled.clear()
    this.#feeds.clear()
  }

  /**
   * Delivers a message to its recipients. Must not be called inside a handler, since all handlers get the current
   * message before the next one.
   */
  deliver (delivery: Delivery, recipients: Recipients = 'everyone'): void {
    const { channel, envelope, remote } = delivery
    if (includesChannel(recipients)) this.#feeds.notify(channel, (listener) => listener.receive(envelope, remote))
    // Most apps have feeds only.
    if (this.#channels.size + this.#patterns.size > 0) this.#callHandlers(delivery, recipients)
  }

  #callHandlers (delivery: Delivery, recipients: Recipients): void {
    let parsed: PubSubMessage | undefined
    const message = (): PubSubMessage => (parsed ??= parse(delivery))
    for (const [name, handlers] of this.#recipients(delivery.channel, recipients)) {
      notifyEach(handlers, (handler) => handler(delivery, message), (error) => this.#report(error, name))
    }
  }

  #recipients (channel: string, recipients: Recipients): Subscription[] {
    const exact = this.#channels.get(channel)
    const all: Subscription[] = exact !== undefined && includesChannel(recipients) ? [[channel, exact]] : []
    if (recipients === 'channel') return all
    for (const [pattern, { matches, redisPattern }] of this.#compiled) {
      if ((recipients === 'everyone' || recipients.redisPattern === redisPattern) && matches(channel)) {
        all.push([pattern, this.#patterns.get(pattern) as ReadonlySet<Handler>]) // Both maps have the same keys.
      }
    }
    return all
  }
}

/** Whether the subscribers of the channel itself are among the recipients. */
function includesChannel (recipients: Recipients): boolean {
  return recipients === 'everyone' || recipients === 'channel'
}

/** Returns another listener that calls the given one, since a set can have an object only once. */
function wrapped (listener: FeedListener): FeedListener {
  return {
    live: () => listener.live(),
    lost: () => listener.lost(),
    receive: (envelope, remote) => listener.receive(envelope, remote)
  }
}

/** Returns the handler, bound to the current AsyncLocalStorage context. Throws `RT_HANDLER_INVALID`. */
function bindHandler (handler: PubSubHandler<never>): Handler {
  if (typeof handler !== 'function') throw new RealtimeError('RT_HANDLER_INVALID', kindOf(handler))
  // The subscriber declares the type of `data`, which JSON cannot prove.
  const call = bindContext(handler as PubSubHandler)
  return ({ envelope }, message) => envelope.position?.isMarker === true ? undefined : call(message())
}

function parse ({ channel, envelope: { json, timestamp, from, position } }: Delivery): PubSubMessage {
  const message = { channel, data: parseJson(json), timestamp, from }
  return position === undefined ? message : { ...message, id: formatCursor(position) }
}
