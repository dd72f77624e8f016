import { ChatEvents } from './chat-events.ts'
import type { Logger } from './logger.ts'
import type { ResolvedOptions } from './options.ts'
import { createPubSub } from './pubsub/create-pubsub.ts'
import type { PubSubProvider } from './pubsub/provider.ts'

/** A provider and the chat events over it, which live and end together. */
export class Realtime {
  readonly pubsub: PubSubProvider
  readonly chatEvents: ChatEvents
  readonly #options: ResolvedOptions

  constructor (options: ResolvedOptions, log: Logger) {
    this.pubsub = options.pubsub ?? createPubSub(options, log)
    this.chatEvents = new ChatEvents(this.pubsub, { log, retryMs: options.retryMs })
    this.#options = options
  }

  /** Whether another one with these options would be no different. */
  suits (options: ResolvedOptions): boolean {
    return SHAPING.every((name) => options[name] === this.#options[name])
  }

  /** Ends all subscriptions and the provider, unless the app owns it. Safe to call twice. */
  async close (): Promise<void> {
    this.chatEvents.cleanupChatSubscriptions()
    if (this.#options.pubsub === undefined) await this.pubsub.close()
  }
}

const SHAPING = [
  'redisUrl', 'redis', 'pubsub', 'retryMs', 'maxPayloadBytes', 'publishTimeoutMs', 'keyPrefix', 'instanceId'
] as const satisfies (keyof ResolvedOptions)[]
