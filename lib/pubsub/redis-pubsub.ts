import type { Follower, LiveFeed, PubSubHandler, PubSubProvider, PubSubStats, PublishOptions, PublishReceipt } from './provider.ts'
import { RealtimeError } from '../errors.ts'
import { silentLogger, type Logger } from '../logger.ts'
import { resolveProviderOptions, timing, type ProviderOptions } from '../options.ts'
import { reportFailure } from '../report-failure.ts'
import { within } from '../within.ts'
import { checkChannel } from './channel.ts'
import { decodeWire, encodeWire, makeEnvelope, makeInstanceId } from './envelope.ts'
import { openPublisher, openSubscriber, type RedisSource } from './redis-connection.ts'
import { RedisKeys } from './redis-keys.ts'
import { RedisPublisher } from './redis-publisher.ts'
import { RedisSubscriber } from './redis-subscriber.ts'
import { checkRedisUrl } from './redis-url.ts'
import { Subscriptions, type Audience } from './subscriptions.ts'

/**
 * Options of `RedisPubSub`: `url` for connections of its own, or a `client` of the app's, which it publishes on, duplicates to
 * subscribe, and never closes; those of the plugin that concern it; and a logger.
 */
export type RedisPubSubOptions = RedisSource & ProviderOptions & {
  /** @default silent */
  log?: Logger | undefined
}

/** The provider for many processes, over Redis pub/sub. It starts without Redis and recovers by itself. */
export class RedisPubSub implements PubSubProvider, LiveFeed, PubSubStats {
  readonly name = 'redis'
  readonly instanceId: string
  readonly #log: Logger
  readonly #keys: RedisKeys
  readonly #maxPayloadBytes: number
  readonly #publisher: RedisPublisher
  readonly #subscriber: RedisSubscriber
  readonly #subscriptions: Subscriptions
  #health: Promise<boolean> | undefined
  #closed: Promise<void> | undefined

  /** Throws `RT_REDIS_URL_INVALID` or `RT_OPTION_INVALID`. */
  constructor ({ url, client, log = silentLogger, ...options }: RedisPubSubOptions) {
    const { instanceId = makeInstanceId(this.name), keyPrefix, maxPayloadBytes, publishTimeoutMs } = resolveProviderOptions(options)
    const source = client === undefined ? { url: checkRedisUrl(url) } : { client }
    this.instanceId = instanceId
    this.#log = log
    this.#keys = new RedisKeys(keyPrefix)
    this.#maxPayloadBytes = maxPayloadBytes
    this.#subscriptions = new Subscriptions(log, (pattern) => this.#keys.pattern(pattern))
    this.#publisher = new RedisPublisher(openPublisher(source), { owned: client === undefined, timeoutMs: publishTimeoutMs, log })
    this.#subscriber = new RedisSubscriber(openSubscriber(source), {
      message: (redisChannel, message) => this.#receive(redisChannel, message, 'channel'),
      patternMessage: (redisPattern, redisChannel, message) => this.#receive(redisChannel, message, { redisPattern }),
      live: (redisChannel) => this.#live(redisChannel),
      lost: () => this.#lost()
    }, log)
  }

  publish<T> (channel: string, data: T, options: PublishOptions = {}): Promise<PublishReceipt> {
    return reportFailure(this.#publish(channel, data, options.ephemeral === true), this.#log, { channel })
  }

  async #publish (channel: string, data: unknown, ephemeral: boolean): Promise<PublishReceipt> {
    this.#mustBeOpen()
    checkChannel(channel)
    const envelope = makeEnvelope(data, this.instanceId, this.#maxPayloadBytes)
    if (ephemeral) {
      // Here at once, so that it works without Redis; what comes back from Redis is then not taken again.
      queueMicrotask(() => this.#subscriptions.deliver({ channel, envelope, remote: false }))
      await this.#publisher.publishNow(this.#keys.channel(channel), encodeWire('e', envelope))
    } else {
      await this.#publisher.publish(this.#keys.channel(channel), encodeWire('d', envelope))
    }
    this.#log.debug({ channel }, 'Published message to Redis')
    return { duplicate: false }
  }

  subscribe<T> (pattern: string, handler: PubSubHandler<T>): () => void {
    this.#mustBeOpen()
    const undo = this.#subscriptions.addPattern(pattern, handler)
    return both(undo, this.#subscriber.psubscribe(this.#keys.pattern(pattern)))
  }

  subscribeExact<T> (channel: string, handler: PubSubHandler<T>): () => void {
    this.#mustBeOpen()
    const undo = this.#subscriptions.addHandler(channel, handler)
    return both(undo, this.#subscriber.subscribe(this.#keys.channel(channel)))
  }

  follow (channel: string, follower: Follower): () => void {
    this.#mustBeOpen()
    const redisChannel = this.#keys.channel(checkChannel(channel))
    // For one more follower of a channel that is live already, Redis has nothing to confirm.
    const undo = this.#subscriptions.addFollower(channel, follower, () => this.#subscriber.isLive(redisChannel))
    return both(undo, this.#subscriber.subscribe(redisChannel))
  }

  stats (): { channels: number, patterns: number } {
    return this.#subscriptions.stats()
  }

  /** Asks once for all who want to know at the same time, so that checks don't pile up on a frozen Redis. */
  isHealthy (): Promise<boolean> {
    this.#health ??= this.#checkHealth().finally(() => { this.#health = undefined })
    return this.#health
  }

  async #checkHealth (): Promise<boolean> {
    if (this.#closed !== undefined) return false
    const checks = Promise.all([this.#publisher.isHealthy(), this.#subscriber.isHealthy()])
    return within(checks, timing.healthTimeout).then((healthy) => healthy.every(Boolean), () => false)
  }

  close (): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close (): Promise<void> {
    this.#subscriptions.clear()
    await Promise.all([this.#publisher.close(), this.#subscriber.close()])
  }

  #receive (redisChannel: string, message: Buffer, audience: Audience): void {
    const channel = this.#keys.parse(redisChannel)
    const received = decodeWire(message)
    if (channel === undefined || received === undefined) {
      this.#log.warn({ redisChannel, bytes: message.length }, 'Ignored what is no message of ours; does something else use this keyPrefix?')
      return
    }
    const { kind, envelope } = received
    const remote = envelope.from !== this.instanceId
    // Ephemeral messages of our own were delivered when they were published.
    if (kind === 'e' && !remote) return
    this.#subscriptions.deliver({ channel, envelope, remote }, audience)
  }

  #live (redisChannel: string): void {
    const channel = this.#keys.parse(redisChannel) as string
    for (const follower of this.#subscriptions.followers(channel)) follower.live()
  }

  #lost (): void {
    for (const follower of this.#subscriptions.followers()) follower.lost()
  }

  #mustBeOpen (): void {
    if (this.#closed !== undefined) throw new RealtimeError('RT_CLOSED', 'RedisPubSub')
  }
}

function both (one: () => void, other: () => void): () => void {
  return () => { one(); other() }
}
