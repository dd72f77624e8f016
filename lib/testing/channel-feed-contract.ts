import assert from 'node:assert/strict'
import type { PubSubProvider } from '../pubsub/provider.ts'
import { allSettled, drained, fresh, openBus, settled, type Bus } from './bus.ts'
import { NO_CHANNELS } from './channels.ts'
import { contract, type Cases, type ContractCase, type Make } from './contract.ts'
import type { FeedListener, ChannelFeed } from '../pubsub/channel-feed.ts'

/** A provider that reports when a subscription is active. */
export type Feed = PubSubProvider & ChannelFeed

/** The contract of a provider that is also a `ChannelFeed`. Run it in addition to `providerContract`. */
export function channelFeedContract (make: Make<Feed>): ContractCase[] {
  return contract(following, (closing) => openBus(make, closing))
}

const idle: FeedListener = { live () {}, lost () {}, receive () {} }

const following: Cases<Bus<Feed>> = {
  async 'a listener is called with live before the first message, which it gets as the JSON that was published' ({
    provider, peer, sides
  }) {
    const c = fresh()
    const told: [side: Feed, ...what: unknown[]][] = []
    const listener = (side: Feed): FeedListener => ({
      live () { told.push([side, 'live']) },
      lost () { told.push([side, 'lost']) },
      receive ({ from, event, json }, remote) { told.push([side, from, event, json.toString(), remote]) }
    })
    const unsubscribed = sides.map((side) => side.follow(c, listener(side)))
    await Promise.all(sides.map((side) => settled(side, c)))
    await provider.publish(c, { type: 'typing', text: 'é\n' })
    await peer.publish(c, ['no type'], { ephemeral: true })
    await drained(sides)
    for (const unsubscribe of [...unsubscribed, ...unsubscribed]) unsubscribe()
    await provider.publish(c, 'not followed any more')
    await drained(sides)
    for (const side of sides) {
      const [first, ...messages] = told.filter(([of]) => of === side).map(([, ...what]) => what)
      assert.deepEqual(first, ['live'])
      // An ephemeral message may arrive before a durable one, so the order of these two is undefined.
      assert.deepEqual(messages.map((row) => JSON.stringify(row)).sort(), [
        [provider.instanceId, 'typing', '{"type":"typing","text":"é\\n"}', side !== provider],
        [peer.instanceId, 'message', '["no type"]', side !== peer]
      ].map((row) => JSON.stringify(row)).sort())
    }
  },

  async 'who follows a channel that is live already is told so too' ({ provider }) {
    const c = fresh()
    provider.follow(c, idle)
    for (let n = 0; n < 3; n++) await settled(provider, c)
  },

  async 'what is no channel can not be followed' ({ provider }) {
    for (const channel of NO_CHANNELS) {
      assert.throws(
        () => provider.follow(channel, idle), { code: 'RT_CHANNEL_INVALID' }
      )
    }
  },

  async 'after close no follower is told anything, and following is refused' ({ provider, peer, sides }) {
    const c = fresh()
    const late: unknown[] = []
    const unsubscribe = provider.follow(c, { ...idle, receive (envelope) { late.push(envelope) } })
    await allSettled(sides)
    const underWay = [provider.publish(c, 1), provider.publish(c, 2, { ephemeral: true })]
    const closing = provider.close()
    assert.throws(() => provider.follow('c', idle), { code: 'RT_CLOSED' })
    await Promise.allSettled(underWay)
    await closing
    assert.throws(() => provider.follow('c', idle), { code: 'RT_CLOSED' })
    if (peer !== provider) {
      await peer.publish(c, 3)
      await drained([peer])
    }
    unsubscribe()
    assert.deepEqual(late, [])
  }
}
