import t from 'tap'
import { silentLogger } from '../../../lib/core/logger.ts'
import { Subscriptions } from '../../../lib/pubsub/subscriptions.ts'

t.test('an undo that is called late takes nobody else off', async (t) => {
  const subscriptions = new Subscriptions(silentLogger)
  const follower = { live () {}, lost () {}, receive () {} }
  const add = [
    () => subscriptions.addHandler('c', () => {}),
    () => subscriptions.addPattern('c*', () => {}),
    () => subscriptions.addFeedListener('f', follower, () => true)
  ]
  for (const subscribe of add) {
    const unsubscribe = subscribe()
    unsubscribe()
    subscribe()
    unsubscribe()
  }
  t.same(subscriptions.stats(), { channels: 2, patterns: 1 })
  t.same(subscriptions.feedListeners('f'), [follower])
  t.same(subscriptions.feedListeners('other'), [])
})
