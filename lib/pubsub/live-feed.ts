import type { Follower, LiveFeed, PubSubProvider } from './provider.ts'
import { toJson } from '../json.ts'
import { makeInstanceId } from './envelope.ts'
import { eventName, isReserved } from './event-name.ts'

/** The feed of a provider: its own, or one made of its plain subscriptions, which then count as live from the start. */
export function liveFeedOf (provider: PubSubProvider & Partial<LiveFeed>): LiveFeed {
  if (provider.follow !== undefined) return provider as LiveFeed
  return {
    instanceId: makeInstanceId(provider.name),
    follow (channel: string, follower: Follower): () => void {
      const undo = provider.subscribeExact(channel, ({ data, timestamp, from }) => {
        follower.receive({ from, timestamp, event: plainName(data), json: toJson(data) }, false)
      })
      let following = true
      queueMicrotask(() => { if (following) follower.live() })
      return () => { following = false; undo() }
    }
  }
}

/** Such a provider keeps no state, so that neither presence nor a bot message comes from this package. */
function plainName (data: unknown): string {
  const name = eventName(data)
  return isReserved(name) && name !== 'typing' ? 'message' : name
}
