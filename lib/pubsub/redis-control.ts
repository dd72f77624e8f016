import type { Logger } from '../logger.ts'
import { logRepeated, type RepeatedFailure } from '../repeated-failure.ts'
import type { ControlFeed } from './control-feed.ts'
import { decodeWire, makeEnvelope } from './envelope.ts'
import type { Follower } from './provider.ts'
import type { RedisAppender } from './redis-appender.ts'
import type { RedisKeys } from './redis-keys.ts'
import type { RedisLog } from './redis-log.ts'
import { Subscriptions } from './subscriptions.ts'

const FOREIGN: RepeatedFailure = { level: 'warn', message: 'Ignored what is not a message of the control channel' }

export interface RedisControlOptions {
  /** Names that no channel of an app has. */
  keys: RedisKeys
  events: RedisLog
  appender: RedisAppender
  instanceId: string
  log: Logger
  /** Subscribes to a channel of Redis. Throws once the provider is closed. */
  subscribe (redisChannel: string): () => void
  isLive (redisChannel: string): boolean
}

/** The control feed over Redis: channels and logs apart from those of the app. */
export class RedisControl implements ControlFeed {
  readonly log: RedisLog
  readonly #options: RedisControlOptions
  readonly #subscriptions: Subscriptions
  /** The channels that were ever followed, by their names in Redis: the plugin has two. */
  readonly #channels = new Map<string, string>()

  constructor (options: RedisControlOptions) {
    this.#options = options
    this.log = options.events
    this.#subscriptions = new Subscriptions(options.log)
  }

  publish (channel: string, message: object): Promise<unknown> {
    const { appender, instanceId } = this.#options
    // Its size is that of ids, which were checked: the app's limit for events is not meant for it.
    return appender.append(channel, makeEnvelope(message, instanceId, Infinity), undefined)
  }

  follow (channel: string, follower: Follower): () => void {
    const { keys, isLive, subscribe } = this.#options
    const redisChannel = keys.channel(channel)
    this.#channels.set(redisChannel, channel)
    const unsubscribe = subscribe(redisChannel)
    const unfollow = this.#subscriptions.addFollower(channel, follower, () => isLive(redisChannel))
    return () => { unfollow(); unsubscribe() }
  }

  /** The followers of a channel of Redis; none where it is not a control channel. */
  followers (redisChannel: string): Follower[] {
    const channel = this.#channels.get(redisChannel)
    return channel === undefined ? [] : this.#subscriptions.followers(channel)
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
