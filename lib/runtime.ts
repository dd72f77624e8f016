import { isDeepStrictEqual } from 'node:util'
import { ChatEvents } from './chat/chat-events.ts'
import type { Logger } from './core/logger.ts'
import { Metrics } from './observability/metrics.ts'
import type { Option } from './core/options.ts'
import { pluginOptions, type ResolvedOptions } from './options.ts'
import { createPubSub } from './pubsub/create-pubsub.ts'
import type { PubSubProvider } from './pubsub/provider.ts'
import { logPending } from './observability/repeated-failure.ts'

/** A provider and the chat events that use it, with a common lifetime. It is reference-counted. */
export class RealtimeRuntime {
  readonly metrics = new Metrics()
  readonly pubsub: PubSubProvider
  readonly chatEvents: ChatEvents
  readonly #options: ResolvedOptions
  readonly #log: Logger
  #refCount = 0

  constructor (options: ResolvedOptions, log: Logger) {
    this.pubsub = options.pubsub ?? createPubSub(options, log, this.metrics)
    this.chatEvents = new ChatEvents(this.pubsub, { ...options, log, metrics: this.metrics })
    this.#options = options
    this.#log = log
  }

  /** Returns whether this runtime can serve an app with these options. Options of streams may differ. */
  isCompatible (options: ResolvedOptions): boolean {
    return Object.entries<Option<unknown, unknown>>(pluginOptions).every(([name, { scope, fields }]) => {
      const [one, other] = [this.#options, options].map((all) => all[name as keyof ResolvedOptions])
      return scope === 'app' || (fields === undefined ? one === other : isDeepStrictEqual(one, other))
    })
  }

  /** The number of users of this runtime: apps, and the standalone helpers. */
  get refCount (): number {
    return this.#refCount
  }

  /** Adds a reference. */
  acquire (): this {
    this.#refCount++
    return this
  }

  /** Drops a reference. The last one closes all subscriptions, and the provider unless the app owns it. */
  async release (): Promise<void> {
    if (--this.#refCount > 0) return
    this.chatEvents.close()
    if (this.#options.pubsub === undefined) await this.pubsub.close()
    logPending(this.#log)
  }
}
