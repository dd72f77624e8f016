import t from 'tap'
import { silentLogger } from '../../../lib/core/logger.ts'
import { controlFeedOf } from '../../../lib/pubsub/control-feed.ts'
import { channelFeedOf } from '../../../lib/pubsub/channel-feed.ts'
import { LocalPubSub } from '../../../lib/pubsub/local/local-pubsub.ts'
import type { PubSubProvider } from '../../../lib/pubsub/provider.ts'
import { Subscriptions } from '../../../lib/pubsub/subscriptions.ts'
import type { Envelope } from '../../../lib/pubsub/event-log.ts'

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

t.test('a provider that implements ChannelFeed is used as the feed', async (t) => {
  const pubsub = new LocalPubSub()
  t.teardown(() => pubsub.close())
  t.equal(channelFeedOf(pubsub), pubsub)
})

t.test('another provider is followed through its subscriptions, and is live from the start', async (t) => {
  const pubsub = new PlainPubSub()
  const feed = channelFeedOf(pubsub)
  t.match(feed.instanceId, /^plain-\d+-/)
  const reported: unknown[] = []
  const follower = {
    live () { reported.push('live') },
    lost () { t.fail('this provider does not report interruptions') },
    receive ({ from, timestamp, event, json, position }: Envelope, remote: boolean) {
      reported.push([from, timestamp, event, json, position, remote])
    }
  }
  const unsubscribe = feed.follow('c', follower)
  await Promise.resolve()
  await pubsub.publish('c', { type: 'typing', n: 1 })
  await pubsub.publish('c', ['no type'])
  await pubsub.publish('c', { type: 'presence' })
  unsubscribe()
  await pubsub.publish('c', 'not followed any more')
  feed.follow('c', follower)()
  await Promise.resolve()
  t.same(reported, [
    'live',
    ['somewhere', 7, 'typing', '{"type":"typing","n":1}', undefined, false],
    ['somewhere', 7, 'message', '["no type"]', undefined, false],
    ['somewhere', 7, 'message', '{"type":"presence"}', undefined, false]
  ], 'a follower that leaves at once gets nothing')
})

t.test('messages between instances have their own channel, followed through its log if there is one', async (t) => {
  const plain = new PlainPubSub()
  const kept = new LocalPubSub()
  t.teardown(() => kept.close())
  // A provider of an app's own has no feed for that.
  const logged = {
    name: 'logged',
    eventLog: kept.eventLog,
    publish: kept.publish.bind(kept),
    subscribe: kept.subscribe.bind(kept),
    subscribeExact: kept.subscribeExact.bind(kept),
    isHealthy: kept.isHealthy.bind(kept),
    close: kept.close.bind(kept)
  }
  for (const [provider, feed] of [[plain, channelFeedOf(plain)], [logged, kept]] as const) {
    const control = controlFeedOf(provider, feed)
    const heard: string[] = []
    const unsubscribe = control.follow('revoked', {
      live () {},
      lost () {},
      receive: ({ json }) => {
        heard.push(json)
      }
    })
    await control.publish('revoked', { n: 1 })
    await provider.publish('revoked', { n: 2 })
    unsubscribe()
    await control.publish('revoked', { n: 3 })
    t.same(heard, ['{"n":1}'], provider.name)
    if (control.eventLog === undefined) {
      t.equal(provider, plain)
      continue
    }
    const { head: top, entries } = await control.eventLog.read('revoked', undefined, 10)
    t.same(entries.map(({ json }) => json), ['{"n":1}', '{"n":3}'])
    t.match(await control.eventLog.heads(['revoked', 'other']), [top, undefined])
  }
})
