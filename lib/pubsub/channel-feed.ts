import type { PubSubProvider } from './provider.ts'
import { toJson } from '../core/json.ts'
import { makeInstanceId } from './envelope.ts'
import { eventName, isReserved } from './event-name.ts'
import type { Envelope } from './event-log.ts'

/** What a provider tells somebody who follows a channel. */
export interface FeedListener {
  /** The subscription holds: nothing that is published from here on is missed. Told again after each interruption. */
  live(): void
  /** The subscription broke: what is published from here on may be missed, until `live` is told again. */
  lost(): void
  /** A message. `remote` says that another instance published it. */
  receive(envelope: Envelope, remote: boolean): void
}

/** A capability of a provider: it hands messages on unparsed and tells when a subscription holds. */
export interface ChannelFeed {
  /** This instance's name, the `from` of what it publishes. */
  readonly instanceId: string
  /** Follows one channel by its exact name. Returns its undo. */
  follow(channel: string, listener: FeedListener): () => void
}

/** The feed of a provider: its own, or one made of its plain subscriptions, which then count as live from the start. */
export function channelFeedOf (provider: PubSubProvider & Partial<ChannelFeed>): ChannelFeed {
  if (provider.follow !== undefined) return provider as ChannelFeed
  return {
    instanceId: makeInstanceId(provider.name),
    follow (channel: string, listener: FeedListener): () => void {
      const unsubscribe = provider.subscribeExact(channel, ({ data, timestamp, from }) => {
        listener.receive({ from, timestamp, event: plainName(data), json: toJson(data) }, false)
      })
      let following = true
      queueMicrotask(() => { if (following) listener.live() })
      return () => { following = false; unsubscribe() }
    }
  }
}

/** Such a provider keeps no state, so that neither presence nor a bot message comes from this package. */
function plainName (data: unknown): string {
  const name = eventName(data)
  return isReserved(name) && name !== 'typing' ? 'message' : name
}
