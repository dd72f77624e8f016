import t from 'tap'
import { silentLogger } from '../../../lib/core/logger.ts'
import { Subscriptions } from '../../../lib/pubsub/subscriptions.ts'

t.test('unsubscribing twice does not remove another handler', async (t) => {
  const subscriptions = new Subscriptions(silentLogger)
  const calls: string[] = []
  const follower = { live: () => { calls.push('live') }, lost: () => { calls.push('lost') }, receive () {} }
  const add = [
    () => subscriptions.addHandler('c', () => {}),
    () => subscriptions.addPattern('c*', () => {}),
    () => subscriptions.addFeedListener('f', follower, () => false)
  ]
  for (const subscribe of add) {
    const unsubscribe = subscribe()
    unsubscribe()
    subscribe()
    unsubscribe()
  }
  t.same(subscriptions.stats(), { channels: 2, patterns: 1 })
  for (const channel of ['f', 'other']) subscriptions.notify(channel, 'live')
  subscriptions.notify('f', 'lost')
  t.same(calls, ['live', 'lost'])
})
