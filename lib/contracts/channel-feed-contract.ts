import assert from 'node:assert/strict'
import type { PubSubProvider } from '../pubsub/provider.ts'
import { untilAllActive, untilDelivered, freshName, openBus, untilActive, type Bus } from './bus.ts'
import { INVALID_CHANNELS } from './channels.ts'
import { contract, type Cases, type ContractCase, type Make } from './contract.ts'
import type { FeedListener, ChannelFeed } from '../pubsub/channel-feed.ts'

/** A provider that reports when a subscription is active. */
export type FeedProvider = PubSubProvider & ChannelFeed

/** The contract of a provider that is also a `ChannelFeed`. Run it in addition to `providerContract`. */
export function channelFeedContract (make: Make<FeedProvider>): ContractCase[] {
  return contract(following, (closeLater) => openBus(make, closeLater))
}

const ignoring: FeedListener = { live () {}, lost () {}, receive () {} }

const following: Cases<Bus<FeedProvider>> = {
  async 'live is called before the first message, and each message is passed as the published JSON' ({
    provider, peer, sides
  }) {
    const c = freshName()
    const calls: [side: FeedProvider, ...what: unknown[]][] = []
    const listener = (side: FeedProvider): FeedListener => ({
      live () { calls.push([side, 'live']) },
      lost () { calls.push([side, 'lost']) },
      receive ({ from, event, json }, remote) { calls.push([side, from, event, json.toString(), remote]) }
    })
    const unsubscribes = sides.map((side) => side.follow(c, listener(side)))
    await Promise.all(sides.map((side) => untilActive(side, c)))
    await provider.publish(c, { type: 'typing', text: 'é\n' })
    await peer.publish(c, ['no type'], { ephemeral: true })
    await untilDelivered(sides)
    for (const unsubscribe of [...unsubscribes, ...unsubscribes]) unsubscribe()
    await provider.publish(c, 'not followed any more')
    await untilDelivered(sides)
    for (const side of sides) {
      const [first, ...messages] = calls.filter(([of]) => of === side).map(([, ...what]) => what)
      assert.deepEqual(first, ['live'])
      // An ephemeral message may arrive before a durable one, so the order of these two is undefined.
      assert.deepEqual(messages.map((row) => JSON.stringify(row)).sort(), [
        [provider.instanceId, 'typing', '{"type":"typing","text":"é\\n"}', side !== provider],
        [peer.instanceId, 'message', '["no type"]', side !== peer]
      ].map((row) => JSON.stringify(row)).sort())
    }
  },

  async 'live is also called for a listener of a channel that is live already' ({ provider }) {
    const c = freshName()
    provider.follow(c, ignoring)
    for (let n = 0; n < 3; n++) await untilActive(provider, c)
  },

  async 'an invalid channel cannot be followed' ({ provider }) {
    for (const channel of INVALID_CHANNELS) {
      assert.throws(() => provider.follow(channel, ignoring), { code: 'RT_CHANNEL_INVALID' })
    }
  },

  async 'after close no listener is called, and following is refused' ({ provider, peer, sides }) {
    const c = freshName()
    const late: unknown[] = []
    const unsubscribe = provider.follow(c, { ...ignoring, receive (envelope) { late.push(envelope) } })
    await untilAllActive(sides)
    const pending = [provider.publish(c, 1), provider.publish(c, 2, { ephemeral: true })]
    const closed = provider.close()
    assert.throws(() => provider.follow('c', ignoring), { code: 'RT_CLOSED' })
    await Promise.allSettled(pending)
    await closed
    assert.throws(() => provider.follow('c', ignoring), { code: 'RT_CLOSED' })
    if (peer !== provider) {
      await peer.publish(c, 3)
      await untilDelivered([peer])
    }
    unsubscribe()
    assert.deepEqual(late, [])
  }
}
