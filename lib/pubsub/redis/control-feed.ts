import type { Logger } from '../../core/logger.ts'
import { logRepeated, type RepeatedFailure } from '../../observability/repeated-failure.ts'
import type { ControlFeed } from '../control-feed.ts'
import { makeEnvelope } from '../publisher.ts'
import type { LogWriter } from './log-writer.ts'
import type { RedisKeys } from './keys.ts'
import type { LogReader } from './log-reader.ts'
import { Subscriptions } from '../subscriptions.ts'
import type { FeedListener } from '../channel-feed.ts'
import { decodeWire } from '../wire.ts'

const FOREIGN: RepeatedFailure = { level: 'warn', message: 'Ignored an unknown message on the control channel' }

interface RedisControlFeedOptions {
  /** Keys in a namespace that the app's channels cannot use. */
  keys: RedisKeys
  events: LogReader
  writer: LogWriter
  instanceId: string
  log: Logger
  /** Subscribes to a Redis channel and returns a function that unsubscribes. Throws after the provider was closed. */
  subscribe (redisChannel: string): () => void
  isLive (redisChannel: string): boolean
}

/** The control feed over Redis. Its channels and logs are separate from those of the app. */
export class RedisControlFeed implements ControlFeed {
  readonly eventLog: LogReader
  readonly #options: RedisControlFeedOptions
  readonly #subscriptions: Subscriptions
  /** Maps each Redis channel that was ever followed to its channel name. Entries stay; the plugin uses only two. */
  readonly #channels = new Map<string, string>()

  constructor (options: RedisControlFeedOptions) {
    this.#options = options
    this.eventLog = options.events
    this.#subscriptions = new Subscriptions(options.log)
  }

  publish (channel: string, message: object): Promise<unknown> {
    const { writer, instanceId } = this.#options
    // Control messages hold ids whose size was already checked, so the app's `maxPayloadBytes` does not apply.
    return writer.append(channel, makeEnvelope(message, instanceId, Infinity), undefined)
  }

  follow (channel: string, listener: FeedListener): () => void {
    const { keys, isLive, subscribe } = this.#options
    const redisChannel = keys.channel(channel)
    this.#channels.set(redisChannel, channel)
    const unsubscribe = subscribe(redisChannel)
    const unfollow = this.#subscriptions.addFeedListener(channel, listener, () => isLive(redisChannel))
    return () => { unfollow(); unsubscribe() }
  }

  /** Calls `live` or `lost` of the listeners. */
  notify (redisChannel: string, event: 'live' | 'lost'): void {
    // Only control channels are subscribed to in this namespace.
    this.#subscriptions.notify(this.#channels.get(redisChannel) as string, event)
  }

  /** Handles a received message. Returns whether the channel is a control channel. */
  receive (redisChannel: string, message: Buffer): boolean {
    const channel = this.#channels.get(redisChannel)
    if (channel === undefined) return false
    const received = decodeWire(message)
    if (received === undefined || received.kind === 's') {
      logRepeated(this.#options.log, FOREIGN, { redisChannel, bytes: message.length })
    } else {
      const { envelope } = received
      this.#subscriptions.deliver({ channel, envelope, remote: envelope.from !== this.#options.instanceId })
    }
    return true
  }

  close (): void {
    this.#options.writer.flush()
    this.#subscriptions.clear()
  }
}
