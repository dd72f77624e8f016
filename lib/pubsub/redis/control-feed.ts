import type { Logger } from '../../core/logger.ts'
import { logRepeated, type RepeatedFailure } from '../../observability/repeated-failure.ts'
import type { ControlFeed } from '../control-feed.ts'
import { makeEnvelope } from '../envelope.ts'
import type { LogWriter } from './log-writer.ts'
import type { RedisKeys } from './keys.ts'
import type { LogReader } from './log-reader.ts'
import { Subscriptions } from '../subscriptions.ts'
import type { FeedListener } from '../channel-feed.ts'
import { decodeWire } from '../wire.ts'

const FOREIGN: RepeatedFailure = { level: 'warn', message: 'Ignored what is not a message of the control channel' }

export interface RedisControlFeedOptions {
  /** Names that no channel of an app has. */
  keys: RedisKeys
  events: LogReader
  appender: LogWriter
  instanceId: string
  log: Logger
  /** Subscribes to a channel of Redis. Throws once the provider is closed. */
  subscribe (redisChannel: string): () => void
  isLive (redisChannel: string): boolean
}

/** The control feed over Redis: channels and logs apart from those of the app. */
export class RedisControlFeed implements ControlFeed {
  readonly eventLog: LogReader
  readonly #options: RedisControlFeedOptions
  readonly #subscriptions: Subscriptions
  /** The channels that were ever followed, by their names in Redis: the plugin has two. */
  readonly #channels = new Map<string, string>()

  constructor (options: RedisControlFeedOptions) {
    this.#options = options
    this.eventLog = options.events
    this.#subscriptions = new Subscriptions(options.log)
  }

  publish (channel: string, message: object): Promise<unknown> {
    const { appender, instanceId } = this.#options
    // Its size is that of ids, which were checked: the app's limit for events is not meant for it.
    return appender.append(channel, makeEnvelope(message, instanceId, Infinity), undefined)
  }

  follow (channel: string, listener: FeedListener): () => void {
    const { keys, isLive, subscribe } = this.#options
    const redisChannel = keys.channel(channel)
    this.#channels.set(redisChannel, channel)
    const unsubscribe = subscribe(redisChannel)
    const unfollow = this.#subscriptions.addFeedListener(channel, listener, () => isLive(redisChannel))
    return () => { unfollow(); unsubscribe() }
  }

  /** The followers of a channel of Redis; none where it is not a control channel. */
  feedListeners (redisChannel: string): FeedListener[] {
    const channel = this.#channels.get(redisChannel)
    return channel === undefined ? [] : this.#subscriptions.feedListeners(channel)
  }

  /** Takes what was received. Returns whether the channel is a control channel. */
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
    this.#options.appender.flush()
    this.#subscriptions.clear()
  }
}
