import { setImmediate as turn } from 'node:timers/promises'
import type { PubSubHandler, PubSubProvider, PubSubStats, PublishOptions, PublishReceipt } from '../provider.ts'
import { RealtimeError } from '../../errors.ts'
import { silentLogger, type Logger } from '../../core/logger.ts'
import { Metrics } from '../../observability/metrics.ts'
import type { Controllable } from '../control-feed.ts'
import { formatCursor } from '../cursor.ts'
import { LocalControlFeed } from './control-feed.ts'
import { LocalLog, type LogKey } from './log.ts'
import { LocalStateStore } from './state-store.ts'
import { makeEnvelope, Publisher, type Outgoing } from '../publisher.ts'
import type { Stateful } from '../state-store.ts'
import { Subscriptions } from '../subscriptions.ts'
import { makeInstanceId, type FeedListener, type ChannelFeed } from '../channel-feed.ts'
import type { Envelope, Replayable } from '../event-log.ts'
import { resolve } from '../../core/options.ts'
import { providerOptions, type ProviderOptions } from '../provider-options.ts'

/** Options of `LocalPubSub`: the plugin options that apply to it, and a logger. */
export interface LocalPubSubOptions extends Pick<
  ProviderOptions,
  'instanceId' | 'maxPayloadBytes' | 'history' | 'idempotencyTtlMs'
> {
  /** @default silent */
  log?: Logger | undefined
  /** Metrics to update. @default a separate instance that is not exposed */
  metrics?: Metrics | undefined
}

/** The provider for a single process. It needs no server and reaches no other process. */
export class LocalPubSub implements PubSubProvider, ChannelFeed, PubSubStats, Replayable, Stateful, Controllable {
  readonly name = 'local'
  readonly instanceId: string
  readonly eventLog: LocalLog | undefined
  readonly state: LocalStateStore | undefined
  readonly control: LocalControlFeed
  readonly #metrics: Metrics
  readonly #publisher: Publisher
  readonly #subscriptions: Subscriptions
  #closed = false

  static { Publisher.isUsedBy(this.prototype.publish) }

  /** Throws `RT_OPTION_INVALID`. */
  constructor ({ log = silentLogger, metrics = new Metrics(), ...options }: LocalPubSubOptions = {}) {
    const {
      instanceId = makeInstanceId(this.name),
      maxPayloadBytes,
      history,
      idempotencyTtlMs
    } = resolve(providerOptions, options)
    this.instanceId = instanceId
    this.#metrics = metrics
    const mustBeOpen = (): void => this.#mustBeOpen()
    this.#publisher = new Publisher({
      instanceId,
      maxPayloadBytes,
      log,
      metrics,
      message: 'Published message in this process',
      mustBeOpen,
      send: (message) => this.#send(message)
    })
    this.#subscriptions = new Subscriptions(log)
    this.control = new LocalControlFeed({ instanceId, log, mustBeOpen })
    if (history === false) return
    const events = this.eventLog = new LocalLog({ ...history, idempotencyTtlMs })
    this.state = new LocalStateStore({
      eventLog: events,
      log,
      wrap: (event) => makeEnvelope(event, instanceId, maxPayloadBytes),
      append: (channel, envelope, key) => this.#append(events, channel, envelope, key),
      mustBeOpen
    })
  }

  publish<T> (channel: string, data: T, options?: PublishOptions): Promise<PublishReceipt> {
    return this.#publisher.publish(channel, data, options)
  }

  #send ({ channel, envelope, ephemeral, key, rowKeyTtlMs }: Outgoing): Promise<PublishReceipt> {
    if (this.eventLog === undefined || ephemeral) return this.#broadcast(channel, envelope)
    const of = rowKeyTtlMs === undefined ? 'app' : 'row'
    return this.#append(this.eventLog, channel, envelope, key === undefined ? undefined : `${of} ${key}`, rowKeyTtlMs)
  }

  async #broadcast (channel: string, envelope: Envelope): Promise<PublishReceipt> {
    await undefined
    this.#deliver(channel, envelope)
    return { duplicate: false }
  }

  async #append (
    log: LocalLog,
    channel: string,
    envelope: Envelope,
    key: LogKey | undefined,
    keyTtlMs?: number
  ): Promise<PublishReceipt> {
    const { position, entry } = log.append(channel, envelope, key, keyTtlMs)
    await undefined
    if (entry !== undefined) this.#deliver(channel, entry)
    return { id: formatCursor(position), duplicate: entry === undefined }
  }

  /**
   * Called in a microtask, so that handlers never run inside `publish`, as with Redis. When the promise of `publish`
   * resolves, they have run.
   */
  #deliver (channel: string, envelope: Envelope): void {
    this.#metrics.received++
    this.#subscriptions.deliver({ channel, envelope, remote: false })
  }

  subscribe<T> (pattern: string, handler: PubSubHandler<T>): () => void {
    this.#mustBeOpen()
    return this.#subscriptions.addPattern(pattern, handler)
  }

  subscribeExact<T> (channel: string, handler: PubSubHandler<T>): () => void {
    this.#mustBeOpen()
    return this.#subscriptions.addHandler(channel, handler)
  }

  follow (channel: string, listener: FeedListener): () => void {
    this.#mustBeOpen()
    return this.#subscriptions.addFeedListener(channel, listener, () => !this.#closed)
  }

  stats (): { channels: number, patterns: number } {
    return this.#subscriptions.stats()
  }

  async isHealthy (): Promise<boolean> {
    // Without it, the loop `while (!await isHealthy())` would freeze the process once the provider is closed.
    await turn()
    return !this.#closed
  }

  async close (): Promise<void> {
    this.#closed = true
    this.eventLog?.close()
    this.control.close()
    this.#subscriptions.clear()
  }

  #mustBeOpen (): void {
    if (this.#closed) throw new RealtimeError('RT_CLOSED', 'LocalPubSub')
  }
}
