import { checkUserId } from '../core/user-id.ts'
import { getChatChannel } from '../pubsub/names.ts'
import type { ChatFeature } from '../rooms/chat-feature.ts'
import type { ControlChannel } from './control-channel.ts'

/** The end of a user's access to a chat, as instances send it to each other. */
interface Revocation { type: 'revoke', chatId: string, userId: string }

/** Listens to revocations. */
export interface RevocationListener {
  /** Called when the access of a user to a chat is revoked. It may be called twice for one revocation. */
  revoked (chatId: string, userId: string): void
  /** Called when every revocation so far has been received, or `continuity` has changed. */
  synced (): void
}

/** The state of the subscription to the revocations of all instances. */
export interface RevocationWatch {
  /** True if every revocation so far has been received. */
  readonly inSync: boolean
  /** Changes when a revocation may have been missed. */
  readonly continuity: number
  stop (): void
}

/** Reports revocations to the features and streams of every instance. */
export class Revocations {
  readonly #channel: ControlChannel<Revocation>
  readonly #features: readonly ChatFeature[]

  constructor (channel: ControlChannel<Revocation>, features: readonly ChatFeature[]) {
    this.#channel = channel
    this.#features = features
  }

  /**
   * Reports a revocation to this instance, then publishes it to the others. Rejects with `RT_CHAT_ID_INVALID` or
   * `RT_USER_ID_INVALID`, or as `PubSubProvider.publish` does.
   */
  async publish (chatId: string, userId: string): Promise<void> {
    getChatChannel(chatId)
    checkUserId(userId)
    // The channel does so as well, but only while it is watched.
    this.#notifyFeatures(chatId, userId)
    await this.#channel.publish({ type: 'revoke', chatId, userId })
  }

  /** Subscribes to the revocations of all instances. */
  watch ({ revoked, synced }: RevocationListener): RevocationWatch {
    const channel = this.#channel
    const stop = channel.watch({
      message: ({ chatId, userId }) => {
        revoked(chatId, userId)
        this.#notifyFeatures(chatId, userId)
      },
      synced
    })
    return { get inSync () { return channel.inSync }, get continuity () { return channel.continuity }, stop }
  }

  #notifyFeatures (chatId: string, userId: string): void {
    for (const feature of this.#features) feature.onRevoke?.(chatId, userId)
  }
}
