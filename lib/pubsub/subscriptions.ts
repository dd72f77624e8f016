import { bindContext } from '../async-context.ts'
import type { Logger } from '../logger.ts'
import type { Envelope, Follower, PubSubHandler, PubSubMessage } from './provider.ts'
import { RealtimeError, kindOf } from '../errors.ts'
import { formatCursor } from '../cursor.ts'
import { Handlers } from '../handlers.ts'
import { parseJson } from '../json.ts'
import { logRepeated, placeOf, type RepeatedFailure } from '../repeated-failure.ts'
import { checkChannel } from './channel.ts'
import { compileGlob } from './glob.ts'

const HANDLER: RepeatedFailure = { level: 'error', message: 'A handler of a published message failed' }

/** A message on its way to the subscribers of this process. */
export interface Delivery {
  channel: string
  envelope: Envelope
  /** Whether another instance published it. */
  remote: boolean
}

/** Which of the subscribers a delivery is for. Redis sends a message once for the channel and once for each pattern of its own. */
export type Audience = 'everyone' | 'channel' | { redisPattern: string }

/** Subscribers are given the message parsed only if they ask for it, and all of them the same. */
type Listeners = Handlers<[delivery: Delivery, message: () => PubSubMessage]>
type Listener = Parameters<Listeners['add']>[0]

interface Pattern {
  matches: (channel: string) => boolean
  redisPattern: string
  listeners: Listeners
}

/** Who in this process listens to what. Both providers deliver through it, so that they treat handlers alike. */
export class Subscriptions {
  readonly #channels = new Map<string, Listeners>()
  readonly #patterns = new Map<string, Pattern>()
  readonly #followers = new Map<string, Set<Follower>>()
  readonly #log: Logger
  readonly #toRedisPattern: (pattern: string) => string

  constructor (log: Logger, toRedisPattern = (pattern: string): string => pattern) {
    this.#log = log
    this.#toRedisPattern = toRedisPattern
  }

  /** Adds a handler for one channel. Returns its undo. Throws `RT_CHANNEL_INVALID` or `RT_HANDLER_INVALID`. */
  addHandler (channel: string, handler: PubSubHandler<never>): () => void {
    return this.#listen(checkChannel(channel), listenerOf(handler))
  }

  /** Adds a handler for all channels that a glob matches. Returns its undo. Throws `RT_CHANNEL_INVALID` or `RT_HANDLER_INVALID`. */
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
   * Adds one who takes messages unparsed; if the channel is live already, it is told so in a moment. Returns its undo.
   * Throws `RT_CHANNEL_INVALID`.
   */
  addFollower (channel: string, follower: Follower, isLive: () => boolean): () => void {
    const unlisten = this.#listen(checkChannel(channel), ({ envelope, remote }) => follower.receive(envelope, remote))
    const followers = getOrMake(this.#followers, channel, () => new Set())
    followers.add(follower)
    queueMicrotask(() => { if (followers.has(follower) && isLive()) follower.live() })
    return () => {
      unlisten()
      followers.delete(follower)
      if (followers.size === 0 && this.#followers.get(channel) === followers) this.#followers.delete(channel)
    }
  }

  /** Those who follow a channel now. */
  followers (channel: string): Follower[] {
    return [...this.#followers.get(channel) ?? []]
  }

  stats (): { channels: number, patterns: number } {
    return { channels: this.#channels.size, patterns: this.#patterns.size }
  }

  /** Forgets all, even those that a delivery under way has not come to. */
  clear (): void {
    for (const listeners of [...this.#channels.values(), ...[...this.#patterns.values()].map((pattern) => pattern.listeners)]) listeners.clear()
    this.#channels.clear()
    this.#patterns.clear()
    this.#followers.clear()
  }

  /** Hands a message to its audience. Must not be called by a handler: what a handler publishes comes after the message at hand. */
  deliver (delivery: Delivery, audience: Audience = 'everyone'): void {
    let parsed: PubSubMessage | undefined
    const message = (): PubSubMessage => (parsed ??= parse(delivery))
    for (const listeners of this.#audience(delivery.channel, audience)) listeners.run(delivery, message)
  }

  #audience (channel: string, audience: Audience): Listeners[] {
    const exact = this.#channels.get(channel)
    const all = exact !== undefined && (audience === 'everyone' || audience === 'channel') ? [exact] : []
    if (audience === 'channel') return all
    for (const { matches, redisPattern, listeners } of this.#patterns.values()) {
      if ((audience === 'everyone' || audience.redisPattern === redisPattern) && matches(channel)) all.push(listeners)
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
    return new Handlers((error) => logRepeated(this.#log, HANDLER, { subscription, err: error }, placeOf(error)))
  }
}

function listenerOf (handler: PubSubHandler<never>): Listener {
  if (typeof handler !== 'function') throw new RealtimeError('RT_HANDLER_INVALID', kindOf(handler))
  // What `data` is, the subscriber says: JSON can't prove it.
  const call = bindContext(handler as PubSubHandler)
  return ({ envelope }, message) => envelope.position?.fence === true ? undefined : call(message())
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
