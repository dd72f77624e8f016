import type { Follower, LiveFeed, PubSubHandler, PubSubProvider, PubSubStats, PublishOptions, PublishReceipt } from './provider.ts'
import { RealtimeError } from '../errors.ts'
import { silentLogger, type Logger } from '../logger.ts'
import { resolveProviderOptions, type ProviderOptions } from '../options.ts'
import { reportFailure } from '../report-failure.ts'
import { checkChannel } from './channel.ts'
import { makeEnvelope, makeInstanceId } from './envelope.ts'
import { Subscriptions } from './subscriptions.ts'

/** Options of `LocalPubSub`: those of the plugin that concern it, and a logger. */
export interface LocalPubSubOptions extends Pick<ProviderOptions, 'instanceId' | 'maxPayloadBytes'> {
  /** @default silent */
  log?: Logger | undefined
}

/** The provider for one process: needs nothing, reaches nobody else. */
export class LocalPubSub implements PubSubProvider, LiveFeed, PubSubStats {
  readonly name = 'local'
  readonly instanceId: string
  readonly #log: Logger
  readonly #maxPayloadBytes: number
  readonly #subscriptions: Subscriptions
  #closed = false

  /** Throws `RT_OPTION_INVALID`. */
  constructor ({ log = silentLogger, ...options }: LocalPubSubOptions = {}) {
    const { instanceId = makeInstanceId(this.name), maxPayloadBytes } = resolveProviderOptions(options)
    this.instanceId = instanceId
    this.#log = log
    this.#maxPayloadBytes = maxPayloadBytes
    this.#subscriptions = new Subscriptions(log)
  }

  publish<T> (channel: string, data: T, _options: PublishOptions = {}): Promise<PublishReceipt> {
    return reportFailure(this.#publish(channel, data), this.#log, { channel })
  }

  async #publish (channel: string, data: unknown): Promise<PublishReceipt> {
    this.#mustBeOpen()
    checkChannel(channel)
    const envelope = makeEnvelope(data, this.instanceId, this.#maxPayloadBytes)
    // Not at once: no handler runs inside publish, here as little as through Redis.
    queueMicrotask(() => this.#subscriptions.deliver({ channel, envelope, remote: false }))
    return { duplicate: false }
  }

  subscribe<T> (pattern: string, handler: PubSubHandler<T>): () => void {
    this.#mustBeOpen()
    return this.#subscriptions.addPattern(pattern, handler)
  }

  subscribeExact<T> (channel: string, handler: PubSubHandler<T>): () => void {
    this.#mustBeOpen()
    return this.#subscriptions.addHandler(channel, handler)
  }

  follow (channel: string, follower: Follower): () => void {
    this.#mustBeOpen()
    return this.#subscriptions.addFollower(channel, follower, () => !this.#closed)
  }

  stats (): { channels: number, patterns: number } {
    return this.#subscriptions.stats()
  }

  async isHealthy (): Promise<boolean> {
    return !this.#closed
  }

  async close (): Promise<void> {
    this.#closed = true
    this.#subscriptions.clear()
  }

  #mustBeOpen (): void {
    if (this.#closed) throw new RealtimeError('RT_CLOSED', 'LocalPubSub')
  }
}
