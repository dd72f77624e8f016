import { CONTROL } from './names.ts'
import { asOwn } from './publisher.ts'
import type { PubSubProvider } from './provider.ts'
import type { FeedListener, ChannelFeed } from './channel-feed.ts'
import type { EventLog, Replayable } from './event-log.ts'

/** Carries messages between instances for the plugin's own purposes, such as revocations. */
export interface ControlFeed {
  /**
   * The log of the published messages; `undefined` if they can't be read again. The built-in providers keep it
   * independently of the option `history`.
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
 * Returns the control feed of a provider: its own, or one built on the provider's channels and, if there is one, its
 * event log.
 */
export function controlFeedOf (
  provider: PubSubProvider & Partial<Replayable & Controllable>,
  feed: ChannelFeed
): ControlFeed {
  return provider.control ?? new PlainControlFeed(provider, feed)
}

/** A control feed on channels of the app's provider, with names that apps can't use. */
class PlainControlFeed implements ControlFeed {
  readonly eventLog: EventLog | undefined
  readonly #provider: PubSubProvider
  readonly #feed: ChannelFeed

  constructor (provider: PubSubProvider & Partial<Replayable>, feed: ChannelFeed) {
    const { eventLog: log } = provider
    this.#provider = provider
    this.#feed = feed
    this.eventLog = log && {
      read: (channel, ...rest) => log.read(channelOf(channel), ...rest),
      heads: (channels) => log.heads(channels.map(channelOf))
    }
  }

  publish (channel: string, message: object): Promise<unknown> {
    return this.#provider.publish(channelOf(channel), message, asOwn())
  }

  follow (channel: string, listener: FeedListener): () => void {
    return this.#feed.follow(channelOf(channel), listener)
  }
}

function channelOf (channel: string): string {
  return CONTROL + channel
}
