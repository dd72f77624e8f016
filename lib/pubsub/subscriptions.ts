import { bindContext } from '../core/async-context.ts'
import type { Logger } from '../core/logger.ts'
import type { PubSubHandler, PubSubMessage } from './provider.ts'
import { RealtimeError, kindOf } from '../errors.ts'
import { formatCursor } from './cursor.ts'
import { ListenerSet } from '../core/listener-set.ts'
import { parseJson } from '../core/json.ts'
import { logRepeated, originOf, type RepeatedFailure } from '../observability/repeated-failure.ts'
import { checkChannel } from './channel-name.ts'
import { compileGlob } from './glob.ts'
import type { FeedListener } from './channel-feed.ts'
import type { Envelope } from './event-log.ts'

const HANDLER: RepeatedFailure = { level: 'error', message: 'A handler of a published message failed' }

/** A message on its way to the subscribers of this process. */
export interface Delivery {
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

/** `message` parses the payload on its first call only. All listeners get the same object. */
type Listeners = ListenerSet<[delivery: Delivery, message: () => PubSubMessage]>
type Listener = Parameters<Listeners['add']>[0]

interface Pattern {
  matches: (channel: string) => boolean
  /** The pattern that Redis knows. It may match more channels than `matches`. */
  redisPattern: string
  listeners: Listeners
}

/** The subscriptions of this process. Both built-in providers use it, so that they call handlers in the same way. */
export class Subscriptions {
  readonly #channels = new Map<string, Listeners>()
  readonly #patterns = new Map<string, Pattern>()
  readonly #feedListeners = new Map<string, Set<FeedListener>>()
  readonly #log: Logger
  readonly #toRedisPattern: (pattern: string) => string

  constructor (log: Logger, toRedisPattern = (pattern: string): string => pattern) {
    this.#log = log
    this.#toRedisPattern = toRedisPattern
  }

  /**
   * Adds a handler for one channel. Returns a function that removes it. Throws `RT_CHANNEL_INVALID` or
   * `RT_HANDLER_INVALID`.
   */
  addHandler (channel: string, handler: PubSubHandler<never>): () => void {
    return this.#listen(checkChannel(channel), listenerOf(handler))
  }

  /**
   * Adds a handler for all channels that match a glob. Returns a function that removes it. Throws `RT_CHANNEL_INVALID`
   * or `RT_HANDLER_INVALID`.
   */
  addPattern (pattern: string, handler: PubSubHandler<never>): () => void {
    const listener = listenerOf(handler)
    const { listeners } = getOrMake(this.#patterns, checkChannel(pattern), () => ({
      matches: compileGlob(pattern), redisPattern: this.#toRedisPattern(pattern), listeners: this.#listeners(pattern)
    }))
    listeners.add(listener)
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0 && this.#patterns.get(pattern)?.listeners === listeners) this.#patterns.delete(pattern)
    }
  }

  /**
   * Adds a listener that receives messages unparsed. If the channel is already live, `live` is called in a microtask.
   * Returns a function that removes the listener. Throws `RT_CHANNEL_INVALID`.
   */
  addFeedListener (channel: string, listener: FeedListener, isLive: () => boolean): () => void {
    const unlisten = this.#listen(checkChannel(channel), ({ envelope, remote }) => listener.receive(envelope, remote))
    const listeners = getOrMake(this.#feedListeners, channel, () => new Set())
    listeners.add(listener)
    queueMicrotask(() => { if (listeners.has(listener) && isLive()) listener.live() })
    return () => {
      unlisten()
      listeners.delete(listener)
      if (listeners.size === 0 && this.#feedListeners.get(channel) === listeners) this.#feedListeners.delete(channel)
    }
  }

  /** Returns the listeners to notify when the subscription to a channel is live or lost. */
  feedListeners (channel: string): FeedListener[] {
    return [...this.#feedListeners.get(channel) ?? []]
  }

  stats (): { channels: number, patterns: number } {
    return { channels: this.#channels.size, patterns: this.#patterns.size }
  }

  /** Removes all listeners, including those that a delivery in progress has not reached yet. */
  clear (): void {
    for (const listeners of [
      ...this.#channels.values(),
      ...[...this.#patterns.values()].map((pattern) => pattern.listeners)
    ]) listeners.clear()
    this.#channels.clear()
    this.#patterns.clear()
    this.#feedListeners.clear()
  }

  /**
   * Delivers a message to its recipients. Must not be called inside a handler, since all handlers get the current
   * message before the next one.
   */
  deliver (delivery: Delivery, recipients: Recipients = 'everyone'): void {
    let parsed: PubSubMessage | undefined
    const message = (): PubSubMessage => (parsed ??= parse(delivery))
    for (const listeners of this.#recipients(delivery.channel, recipients)) listeners.run(delivery, message)
  }

  #recipients (channel: string, recipients: Recipients): Listeners[] {
    const exact = this.#channels.get(channel)
    const all = exact !== undefined && (recipients === 'everyone' || recipients === 'channel') ? [exact] : []
    if (recipients === 'channel') return all
    for (const { matches, redisPattern, listeners } of this.#patterns.values()) {
      if ((recipients === 'everyone' || recipients.redisPattern === redisPattern) && matches(channel)) {
        all.push(listeners)
      }
    }
    return all
  }

  #listen (channel: string, listener: Listener): () => void {
    const listeners = getOrMake(this.#channels, channel, () => this.#listeners(channel))
    listeners.add(listener)
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0 && this.#channels.get(channel) === listeners) this.#channels.delete(channel)
    }
  }

  #listeners (subscription: string): Listeners {
    return new ListenerSet((error) => logRepeated(this.#log, HANDLER, { subscription, err: error }, originOf(error)))
  }
}

function listenerOf (handler: PubSubHandler<never>): Listener {
  if (typeof handler !== 'function') throw new RealtimeError('RT_HANDLER_INVALID', kindOf(handler))
  // The subscriber declares the type of `data`, which JSON cannot prove.
  const call = bindContext(handler as PubSubHandler)
  return ({ envelope }, message) => envelope.position?.isMarker === true ? undefined : call(message())
}

function parse ({ channel, envelope: { json, timestamp, from, position } }: Delivery): PubSubMessage {
  const message = { channel, data: parseJson(json), timestamp, from }
  return position === undefined ? message : { ...message, id: formatCursor(position) }
}

function getOrMake<T> (map: Map<string, T>, key: string, make: () => T): T {
  const value = map.get(key) ?? make()
  map.set(key, value)
  return value
}
