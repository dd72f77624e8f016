import type { LiveFeed } from '../../lib/index.ts'

/** Resolves once all that was subscribed to so far holds: subscriptions are confirmed in order. */
export function live (feed: LiveFeed): Promise<void> {
  return new Promise((resolve) => {
    const undo = feed.follow(`probe-${Math.random()}`, {
      live () { undo(); resolve() },
      lost () {},
      receive () {}
    })
  })
}
