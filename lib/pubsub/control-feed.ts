import { CONTROL } from './channel.ts'
import { own } from './own-publish.ts'
import type { EventLog, Follower, LiveFeed, PubSubProvider, Replayable } from './provider.ts'

/** How instances say to each other what only concerns the plugin. */
export interface ControlFeed {
  /** What was published, in order; `undefined` where nothing can be read again. Its size and time to live do not depend on the option `history`. */
  readonly log: EventLog | undefined
  /** Publishes to every instance that follows the channel. Settles as `PubSubProvider.publish` does. */
  publish (channel: string, message: object): Promise<unknown>
  /** Follows a channel, as `LiveFeed.follow` does. */
  follow (channel: string, follower: Follower): () => void
}

/** A capability of a provider: channels of the plugin's own, which no name that an app can publish or subscribe to reaches. */
export interface Controllable {
  readonly control: ControlFeed
}

/** The control feed of a provider: its own, or one made of its channels, with the log that it keeps of each. */
export function controlFeedOf (provider: PubSubProvider & Partial<Replayable & Controllable>, feed: LiveFeed): ControlFeed {
  return provider.control ?? new PlainControl(provider, feed)
}

class PlainControl implements ControlFeed {
  readonly log: EventLog | undefined
  readonly #provider: PubSubProvider
  readonly #feed: LiveFeed

  constructor (provider: PubSubProvider & Partial<Replayable>, feed: LiveFeed) {
    const { log } = provider
    this.#provider = provider
    this.#feed = feed
    this.log = log && {
      read: (channel, ...rest) => log.read(nameOf(channel), ...rest),
      tops: (channels) => log.tops(channels.map(nameOf))
    }
  }

  publish (channel: string, message: object): Promise<unknown> {
    return this.#provider.publish(nameOf(channel), message, own())
  }

  follow (channel: string, follower: Follower): () => void {
    return this.#feed.follow(nameOf(channel), follower)
  }
}

function nameOf (channel: string): string {
  return CONTROL + channel
}
