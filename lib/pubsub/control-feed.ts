import { CONTROL } from './channel-name.ts'
import { own } from './publisher.ts'
import type { PubSubProvider } from './provider.ts'
import type { FeedListener, ChannelFeed } from './channel-feed.ts'
import type { EventLog, Replayable } from './event-log.ts'

/** The messages that instances exchange for the plugin's own purposes. */
export interface ControlFeed {
  /**
   * The published messages, in order; `undefined` if they cannot be read again. Its size and time to live do not
   * depend on the option `history`.
   */
  readonly eventLog: EventLog | undefined
  /** Publishes to every instance that follows the channel. Settles as `PubSubProvider.publish` does. */
  publish (channel: string, message: object): Promise<unknown>
  /** Follows a channel, as `ChannelFeed.follow` does. */
  follow (channel: string, listener: FeedListener): () => void
}

/** A capability of a provider: separate control channels, which apps can neither publish nor subscribe to. */
export interface Controllable {
  readonly control: ControlFeed
}

/**
 * Returns the control feed of a provider: its own, or one built on the provider's channels and the logs that it keeps
 * of them.
 */
export function controlFeedOf (
  provider: PubSubProvider & Partial<Replayable & Controllable>,
  feed: ChannelFeed
): ControlFeed {
  return provider.control ?? new PlainControl(provider, feed)
}

class PlainControl implements ControlFeed {
  readonly eventLog: EventLog | undefined
  readonly #provider: PubSubProvider
  readonly #feed: ChannelFeed

  constructor (provider: PubSubProvider & Partial<Replayable>, feed: ChannelFeed) {
    const { eventLog: log } = provider
    this.#provider = provider
    this.#feed = feed
    this.eventLog = log && {
      read: (channel, ...rest) => log.read(nameOf(channel), ...rest),
      heads: (channels) => log.heads(channels.map(nameOf))
    }
  }

  publish (channel: string, message: object): Promise<unknown> {
    return this.#provider.publish(nameOf(channel), message, own())
  }

  follow (channel: string, listener: FeedListener): () => void {
    return this.#feed.follow(nameOf(channel), listener)
  }
}

function nameOf (channel: string): string {
  return CONTROL + channel
}
