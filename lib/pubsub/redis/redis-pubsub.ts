import { setImmediate as turn } from 'node:timers/promises'
import { Command } from 'ioredis'
import type {
  HealthReport,
  HealthReporting,
  PubSubHandler,
  PubSubProvider,
  PubSubStats,
  PublishOptions,
  PublishReceipt
} from '../provider.ts'
import { RealtimeError } from '../../errors.ts'
import { silentLogger, type Logger } from '../../core/logger.ts'
import { Metrics } from '../../observability/metrics.ts'
import { logPending, logRepeated, type RepeatedFailure } from '../../observability/repeated-failure.ts'
import { checkChannel } from '../names.ts'
import type { Controllable } from '../control-feed.ts'
import type { LogWriter } from './log-writer.ts'
import { databaseOf, type ClusterClient, type RedisClient } from './client.ts'
import { openPublisher, openSubscriber, type RedisSource } from './connection.ts'
import { RedisControlFeed } from './control-feed.ts'
import { warnIfEvicting } from './eviction.ts'
import { HealthCheck } from './health.ts'
import { RedisKeys } from './keys.ts'
import type { LogReader } from './log-reader.ts'
import { Logs } from './logs.ts'
import { CommandQueue } from './command-queue.ts'
import { Query } from './query.ts'
import { ReadConnection } from './read-connection.ts'
import type { Script } from './scripts.ts'
import { ShardedSubscriber } from './sharded-subscriber.ts'
import type { RedisStateStore } from './state-store.ts'
import { Subscriber, type SubscriberEvents } from './subscriber.ts'
import { checkRedisUrl } from './url.ts'
import { Publisher, type Outgoing } from '../publisher.ts'
import type { Stateful } from '../state-store.ts'
import { Subscriptions, type Recipients } from '../subscriptions.ts'
import { timing } from '../../core/timing.ts'
import { makeInstanceId, type FeedListener, type ChannelFeed } from '../channel-feed.ts'
import type { Envelope, Replayable } from '../event-log.ts'
import { resolve } from '../../core/options.ts'
import { checkSharded, providerOptions, type ProviderOptions } from '../provider-options.ts'
import { decodeWire, encodeWire } from '../wire.ts'

/**
 * Options of `RedisPubSub`: the provider options of the plugin, a logger, metrics, and either `url` or `client`. With
 * `url`, it opens its own connections. With `client`, it publishes on the app's client, which it never closes, and
 * duplicates it to subscribe and to read.
 */
export type RedisPubSubOptions = RedisSource & ProviderOptions & {
  /** @default silent */
  log?: Logger | undefined
  /** Metrics to update. @default a separate instance that is not exposed */
  metrics?: Metrics | undefined
}

const FOREIGN_MESSAGE: RepeatedFailure = {
  level: 'warn', message: 'Ignored an unknown message; does another app use this keyPrefix?'
}

const CLOSED: HealthReport = { healthy: false, error: { code: 'CLOSED', message: 'RedisPubSub was closed.' } }

/** The provider for multiple processes, over Redis pub/sub. Can start while Redis is down. Reconnects by itself. */
export class RedisPubSub
implements PubSubProvider, ChannelFeed, PubSubStats, HealthReporting, Replayable, Stateful, Controllable {
  readonly name = 'redis'
  readonly instanceId: string
  readonly eventLog: LogReader | undefined
  readonly state: RedisStateStore | undefined
  readonly control: RedisControlFeed
  readonly #log: Logger
  readonly #metrics: Metrics
  readonly #keys: RedisKeys
  readonly #publisher: Publisher
  readonly #sharded: boolean
  readonly #commands: CommandQueue
  readonly #logWriter: LogWriter | undefined
  readonly #reading: ReadConnection | undefined
  readonly #subscriber: Subscriber | ShardedSubscriber
  readonly #subscriptions: Subscriptions
  readonly #health: HealthCheck
  readonly #stopEvictionCheck: () => void
  #closed: Promise<void> | undefined

  static { Publisher.isUsedBy(this.prototype.publish) }

  /** Throws `RT_REDIS_URL_INVALID` or `RT_OPTION_INVALID`. */
  constructor ({ url, client, log = silentLogger, metrics = new Metrics(), ...options }: RedisPubSubOptions) {
    const {
      instanceId = makeInstanceId(this.name),
      keyPrefix,
      history,
      sharded,
      ...resolved
    } = resolve(providerOptions, options)
    checkSharded(sharded, client)
    const { publishTimeoutMs, maxPayloadBytes } = resolved
    const source = client === undefined ? { url: checkRedisUrl(url) } : { client }
    this.instanceId = instanceId
    this.#log = log
    this.#metrics = metrics
    this.#sharded = sharded
    this.#publisher = new Publisher({
      instanceId,
      maxPayloadBytes,
      log,
      metrics,
      message: 'Published message to Redis',
      mustBeOpen: () => this.#mustBeOpen(),
      send: (message) => this.#send(message)
    })
    const connection = openPublisher(source)
    const namespace = { clientPrefix: connection.options.keyPrefix, database: databaseOf(connection) }
    this.#keys = new RedisKeys({ ...namespace, keyPrefix, sharded })
    this.#subscriptions = new Subscriptions(log, (pattern) => this.#keys.pattern(pattern))
    this.#subscriber = sharded
      ? new ShardedSubscriber(client as ClusterClient, this.#subscriberEvents(), log)
      : new Subscriber(openSubscriber(source), this.#subscriberEvents(), log)
    this.#stopEvictionCheck = warnIfEvicting(connection, log)
    // Redis keeps scripts until it restarts, and a client may reconnect to another Redis.
    const cached = new Set<Script>()
    this.#commands = new CommandQueue(connection, {
      owned: client === undefined, timeoutMs: publishTimeoutMs, log, onConnect: () => cached.clear()
    })
    const logs = new Logs({ ...resolved, connection, commands: this.#commands, cached, instanceId, log, sharded })
    if (history !== false) {
      const reading = this.#reading = new ReadConnection(source, log)
      const opened = logs.open(this.#keys, history, new Query(() => reading.client, publishTimeoutMs))
      this.#logWriter = opened.writer
      this.eventLog = opened.events
      this.state = logs.openState(opened)
    }
    // The option `keyPrefix` cannot contain `!`, so these names never collide with those of an app.
    const controlKeys = new RedisKeys({ ...namespace, keyPrefix: `${keyPrefix}!` })
    // Control log replies are small. Reads on the publisher connection never wait behind large pages.
    const controlLog = logs.open(controlKeys, { size: timing.controlLogSize, ttlMs: timing.controlLogTtl })
    this.control = new RedisControlFeed({
      ...controlLog,
      keys: controlKeys,
      instanceId,
      log,
      subscribe: (redisChannel) => {
        this.#mustBeOpen()
        return this.#subscriber.subscribe(redisChannel)
      },
      isLive: (redisChannel) => this.#subscriber.isLive(redisChannel)
    })
    this.#health = new HealthCheck({
      keys: controlKeys,
      publisher: this.#commands,
      subscriber: this.#subscriber,
      reading: this.#reading,
      script: history === false ? undefined : controlLog.common.scripts.probe,
      sharded,
      instanceId
    })
  }

  #subscriberEvents (): SubscriberEvents {
    return {
      message: (redisChannel, message) => this.#receive(redisChannel, message, 'channel'),
      patternMessage: (redisPattern, redisChannel, message) => this.#receive(redisChannel, message, { redisPattern }),
      live: (redisChannel) => this.#notify(redisChannel, 'live'),
      lost: (redisChannels) => { for (const redisChannel of redisChannels) this.#notify(redisChannel, 'lost') }
    }
  }

  publish<T> (channel: string, data: T, options?: PublishOptions): Promise<PublishReceipt> {
    return this.#publisher.publish(channel, data, options)
  }

  #send ({ channel, envelope, ephemeral, key, rowKeyTtlMs }: Outgoing): Promise<PublishReceipt> {
    return this.#logWriter === undefined || ephemeral
      ? this.#broadcast(channel, envelope, ephemeral)
      : this.#logWriter.append(channel, envelope, key, rowKeyTtlMs)
  }

  async #broadcast (channel: string, envelope: Envelope, ephemeral: boolean): Promise<PublishReceipt> {
    this.#logWriter?.flush()
    const message = encodeWire(ephemeral ? 'e' : 'd', envelope)
    const bytes = Buffer.byteLength(message)
    const redisChannel = this.#keys.channel(channel)
    const name = this.#sharded ? 'spublish' : 'publish'
    // A raw Command: ioredis would add the client's prefix to a shard channel, whose name already contains it.
    const command = (client: RedisClient): Promise<unknown> =>
      client.sendCommand(new Command(name, [redisChannel, message])) as Promise<unknown>
    if (ephemeral) {
      // Deliver locally at once, so that it works without Redis. The copy that Redis sends back is ignored.
      queueMicrotask(() => this.#subscriptions.deliver({ channel, envelope, remote: false }))
      await this.#commands.sendNow(command, bytes)
    } else {
      await this.#commands.send(command, { repeatable: false, bytes })
    }
    return { duplicate: false }
  }

  subscribe<T> (pattern: string, handler: PubSubHandler<T>): () => void {
    this.#mustBeOpen()
    if (this.#subscriber instanceof ShardedSubscriber) throw new RealtimeError('RT_PATTERN_SHARDED')
    const unsubscribe = this.#subscriptions.addPattern(pattern, handler)
    return both(unsubscribe, this.#subscriber.psubscribe(this.#keys.pattern(pattern)))
  }

  subscribeExact<T> (channel: string, handler: PubSubHandler<T>): () => void {
    this.#mustBeOpen()
    const unsubscribe = this.#subscriptions.addHandler(channel, handler)
    return both(unsubscribe, this.#subscriber.subscribe(this.#keys.channel(channel)))
  }

  follow (channel: string, listener: FeedListener): () => void {
    this.#mustBeOpen()
    const redisChannel = this.#keys.channel(checkChannel(channel))
    // If the channel is already live, Redis sends no further confirmation for an additional listener.
    const unsubscribe = this.#subscriptions.addFeedListener(
      channel,
      listener,
      () => this.#subscriber.isLive(redisChannel)
    )
    return both(unsubscribe, this.#subscriber.subscribe(redisChannel))
  }

  stats (): { channels: number, patterns: number } {
    return this.#subscriptions.stats()
  }

  connected (): Record<string, boolean> {
    const reader = this.#reading?.isConnected
    return {
      publisher: this.#commands.isConnected,
      subscriber: this.#subscriber.isConnected,
      ...reader !== undefined && { reader }
    }
  }

  async isHealthy (): Promise<boolean> {
    return (await this.health()).healthy
  }

  /**
   * Returns whether messages can be published and received, with the reason if not. Publishes a probe at most every few
   * seconds; the probe has no subscribers.
   */
  async health (): Promise<HealthReport> {
    const result = this.#closed === undefined ? this.#health.check() : CLOSED
    // A check may need no I/O. Without this wait, `while (!await isHealthy())` would prevent Redis from reconnecting.
    const [report] = await Promise.all([result, turn()])
    return report
  }

  close (): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close (): Promise<void> {
    this.#stopEvictionCheck()
    this.#subscriptions.clear()
    this.control.close()
    this.#logWriter?.flush()
    await Promise.all([this.#commands, this.#subscriber, this.#reading].map((part) => part?.close()))
    logPending(this.#log)
  }

  #receive (redisChannel: string, message: Buffer, recipients: Recipients): void {
    const channel = this.#keys.parse(redisChannel)
    if (channel === undefined && this.control.receive(redisChannel, message)) return
    const received = decodeWire(message)
    if (channel === undefined || received === undefined) {
      this.#metrics.ignored++
      logRepeated(this.#log, FOREIGN_MESSAGE, { redisChannel, bytes: message.length })
      return
    }
    if (received.kind === 's') {
      // A matching pattern subscription delivers the same change again, so only the channel subscription counts.
      if (recipients === 'channel') this.state?.receive(channel, received.change)
      return
    }
    const { kind, envelope } = received
    const remote = envelope.from !== this.instanceId
    // Ephemeral messages of this instance were already delivered when they were published.
    if (kind === 'e' && !remote) return
    this.#metrics.received++
    this.#subscriptions.deliver({ channel, envelope, remote }, recipients)
  }

  #notify (redisChannel: string, event: 'live' | 'lost'): void {
    const channel = this.#keys.parse(redisChannel)
    if (channel === undefined) this.control.notify(redisChannel, event)
    else this.#subscriptions.notify(channel, event)
  }

  #mustBeOpen (): void {
    if (this.#closed !== undefined) throw new RealtimeError('RT_CLOSED', 'RedisPubSub')
  }
}

function both (one: () => void, other: () => void): () => void {
  return () => { one(); other() }
}
