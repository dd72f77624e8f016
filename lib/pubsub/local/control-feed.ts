import type { Logger } from '../../core/logger.ts'
import type { ControlFeed } from '../control-feed.ts'
import { makeEnvelope } from '../publisher.ts'
import { Subscriptions } from '../subscriptions.ts'
import type { FeedListener } from '../channel-feed.ts'

interface LocalControlOptions {
  instanceId: string
  log: Logger
  /** Throws once the provider is closed. */
  mustBeOpen (): void
}

/** The control feed of `LocalPubSub`. All followers are in this process, where no message is lost, so it has no log. */
export class LocalControlFeed implements ControlFeed {
  readonly eventLog = undefined
  readonly #options: LocalControlOptions
  readonly #subscriptions: Subscriptions

  constructor (options: LocalControlOptions) {
    this.#options = options
    this.#subscriptions = new Subscriptions(options.log)
  }

  async publish (channel: string, message: object): Promise<void> {
    this.#options.mustBeOpen()
    const envelope = makeEnvelope(message, this.#options.instanceId, Infinity)
    // As with Redis, listeners never run inside `publish`.
    await undefined
    this.#subscriptions.deliver({ channel, envelope, remote: false })
  }

  follow (channel: string, listener: FeedListener): () => void {
    this.#options.mustBeOpen()
    // Nothing connects here, so the listener is live in this call, not in a later microtask.
    const unfollow = this.#subscriptions.addFeedListener(channel, listener, () => false)
    listener.live()
    return unfollow
  }

  close (): void {
    this.#subscriptions.clear()
  }
}
