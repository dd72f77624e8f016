import t from 'tap'
import { silentLogger } from '../../lib/logger.ts'
import { liveFeedOf } from '../../lib/pubsub/live-feed.ts'
import { LocalPubSub } from '../../lib/pubsub/local-pubsub.ts'
import type { Envelope, PubSubProvider } from '../../lib/pubsub/provider.ts'
import { Subscriptions } from '../../lib/pubsub/subscriptions.ts'

/** A provider with the five methods and nothing more. */
class PlainPubSub implements PubSubProvider {
  readonly name = 'plain'
  readonly #subscriptions = new Subscriptions(silentLogger)
  async publish (channel: string, data: unknown): Promise<{ duplicate: boolean }> {
    const envelope = { from: 'somewhere', timestamp: 7, event: 'unused', json: JSON.stringify(data) }
    this.#subscriptions.deliver({ channel, envelope, remote: true })
    return { duplicate: false }
  }

  subscribe = this.#subscriptions.addPattern.bind(this.#subscriptions)
  subscribeExact = this.#subscriptions.addHandler.bind(this.#subscriptions)
  async isHealthy (): Promise<boolean> { return true }
  async close (): Promise<void> {}
}

t.test('a provider with a feed of its own is its feed', async (t) => {
  const pubsub = new LocalPubSub()
  t.teardown(() => pubsub.close())
  t.equal(liveFeedOf(pubsub), pubsub)
})

t.test('a provider without one is followed through its subscriptions, live from the start', async (t) => {
  const pubsub = new PlainPubSub()
  const feed = liveFeedOf(pubsub)
  t.match(feed.instanceId, /^plain-\d+-/)
  const told: unknown[] = []
  const follower = {
    live () { told.push('live') },
    lost () { t.fail('it can\'t tell') },
    receive ({ from, timestamp, event, json, position }: Envelope, remote: boolean) { told.push([from, timestamp, event, json, position, remote]) }
  }
  const undo = feed.follow('c', follower)
  await Promise.resolve()
  await pubsub.publish('c', { type: 'typing', n: 1 })
  await pubsub.publish('c', ['no type'])
  await pubsub.publish('c', { type: 'presence' })
  undo()
  await pubsub.publish('c', 'not followed any more')
  feed.follow('c', follower)()
  await Promise.resolve()
  t.same(told, [
    'live',
    ['somewhere', 7, 'typing', '{"type":"typing","n":1}', undefined, false],
    ['somewhere', 7, 'message', '["no type"]', undefined, false],
    ['somewhere', 7, 'message', '{"type":"presence"}', undefined, false]
  ], 'and who left at once is told of nothing')
})
