import t from 'tap'
import { silentLogger } from '../../../lib/core/logger.ts'
import { keepLog } from '../../support/log.ts'
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

t.test('a feed listener that throws is logged, and the others get the message', async (t) => {
  const { log, lines } = keepLog()
  const subscriptions = new Subscriptions(log)
  const received: string[] = []
  const listener = (name: string, receive: () => void) => ({
    live () {}, lost () {}, receive () { received.push(name); receive() }
  })
  const failing = listener('failing', () => { throw new Error('broken') })
  const removeFailing = subscriptions.addFeedListener('c', failing, () => false)
  const remove = subscriptions.addFeedListener('c', listener('other', () => { remove() }), () => false)
  const envelope = { from: 'a', timestamp: 1, event: 'message', json: '{}' }
  subscriptions.deliver({ channel: 'c', envelope, remote: false })
  subscriptions.deliver({ channel: 'c', envelope, remote: false }, { redisPattern: '*' })
  t.same(received, ['failing', 'other'], 'a copy of a pattern subscription is not for them')
  t.match(lines, [{ subscription: 'c', err: { message: 'broken' } }])
  removeFailing()
  t.same(subscriptions.stats(), { channels: 0, patterns: 0 })
})

t.test('a feed listener that is added twice is called twice, and each removal is its own', async (t) => {
  const subscriptions = new Subscriptions(silentLogger)
  const calls: string[] = []
  const listener = {
    live: () => { calls.push('live') }, lost: () => { calls.push('lost') }, receive: () => { calls.push('receive') }
  }
  const add = (): () => void => subscriptions.addFeedListener('c', listener, () => false)
  const callsOfAll = (): string[] => {
    for (const event of ['live', 'lost'] as const) subscriptions.notify('c', event)
    const envelope = { from: 'a', timestamp: 1, event: 'message', json: '{}' }
    subscriptions.deliver({ channel: 'c', envelope, remote: false })
    return calls.splice(0)
  }
  const [first, second] = [add(), add()]
  t.same(callsOfAll(), ['live', 'live', 'lost', 'lost', 'receive', 'receive'])
  first()
  t.same(callsOfAll(), ['live', 'lost', 'receive'])
  add()
  first()
  t.equal(callsOfAll().length, 6, 'a second call of the same function removes nothing')
  second()
  second()
  t.same(callsOfAll(), ['live', 'lost', 'receive'])
})

t.test('a channel with feed listeners and handlers counts once', async (t) => {
  const subscriptions = new Subscriptions(silentLogger)
  subscriptions.addHandler('both', () => {})
  subscriptions.addHandler('handlers', () => {})
  for (const channel of ['both', 'feed']) {
    subscriptions.addFeedListener(channel, { live () {}, lost () {}, receive () {} }, () => false)
  }
  t.same(subscriptions.stats(), { channels: 3, patterns: 0 })
})
