import { randomBytes } from 'node:crypto'
import type { PubSubProvider } from './provider.ts'
import { toJson } from '../core/json.ts'
import { eventName, isReserved } from './names.ts'
import type { Envelope } from './event-log.ts'

/** The callbacks of a listener that follows a channel. */
export interface FeedListener {
  /** The subscription is active: no message from here on is missed. Called again after each reconnect. */
  live(): void
  /** The subscription was interrupted: messages may be missed until `live` is called again. */
  lost(): void
  /** Receives a message. `remote` is true if another instance published it. */
  receive(envelope: Envelope, remote: boolean): void
}

/** A capability of a provider: it delivers messages unparsed and reports when a subscription is active. */
export interface ChannelFeed {
  /** The name of this instance: the `from` of the messages that it publishes. */
  readonly instanceId: string
  /** Follows one channel by its exact name. Returns a function that unsubscribes. */
  follow(channel: string, listener: FeedListener): () => void
}

/** Makes a name for this instance. Containers all run as process 1 and may start together: the random part differs. */
export function makeInstanceId (provider: string): string {
  return `${provider}-${process.pid}-${Date.now()}-${randomBytes(3).toString('hex')}`
}

/**
 * Returns the feed of a provider: its own, or one built on its plain subscriptions, which count as live from
 * the start.
 */
export function channelFeedOf (provider: PubSubProvider & Partial<ChannelFeed>): ChannelFeed {
  // A provider that has `follow` implements the whole capability.
  if (provider.follow !== undefined) return provider as ChannelFeed
  return {
    instanceId: makeInstanceId(provider.name),
    follow (channel: string, listener: FeedListener): () => void {
      // `remote` is always false: a plain subscription does not report which instance published a message.
      const unsubscribe = provider.subscribeExact(channel, ({ data, timestamp, from }) => {
        listener.receive({ from, timestamp, event: plainName(data), json: toJson(data) }, false)
      })
      let following = true
      queueMicrotask(() => { if (following) listener.live() })
      return () => { following = false; unsubscribe() }
    }
  }
}

/**
 * Returns the event name of a message of a provider without a feed. Presence and bot messages need a state, which such
 * a provider does not keep. So an event with one of their names was not published by this package; it is renamed to
 * `message`. Typing events need no state and keep their name.
 */
function plainName (data: unknown): string {
  const name = eventName(data)
  return isReserved(name) && name !== 'typing' ? 'message' : name
}
