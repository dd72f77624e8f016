import type { ChannelFeed } from '../../lib/index.ts'

/** Resolves once all that was subscribed to so far holds: subscriptions are confirmed in order. */
export function live (feed: ChannelFeed): Promise<void> {
  return new Promise((resolve) => {
    const unsubscribe = feed.follow(`probe-${Math.random()}`, {
      live () { unsubscribe(); resolve() },
      lost () {},
      receive () {}
    })
  })
}
