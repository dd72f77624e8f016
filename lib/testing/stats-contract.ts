import assert from 'node:assert/strict'
import type { PubSubProvider, PubSubStats } from '../pubsub/provider.ts'
import { allSettled, drained, fresh, listen, openBus, settled, subscribeBoth, type Bus } from './bus.ts'
import { NO_CHANNELS, ODD_CHANNELS } from './channels.ts'
import { contract, type Cases, type ContractCase, type Make } from './contract.ts'
import type { ChannelFeed } from '../pubsub/channel-feed.ts'

/** A provider that counts its subscriptions. */
export type Counting = PubSubProvider & PubSubStats & Partial<ChannelFeed>

/** The contract of a provider that also has `PubSubStats`. Run it in addition to `providerContract`. */
export function statsContract (make: Make<Counting>): ContractCase[] {
  return contract(counting, (closing) => openBus(make, closing))
}

const counting: Cases<Bus<Counting>> = {
  async 'distinct channels and patterns are counted, however many subscribe to each' ({ provider }) {
    const counts = (channels: number, patterns: number): void => {
      assert.deepEqual(provider.stats(), { channels, patterns })
    }
    counts(0, 0)
    const unsubscribeChannels = ['a', 'a', 'b', 'a*'].map((channel) => provider.subscribeExact(channel, () => {}))
    counts(3, 0)
    const unsubscribePatterns = ['a*', 'a*', 'a?', 'a[b]'].map((pattern) => provider.subscribe(pattern, () => {}))
    counts(3, 3)
    await settled(provider)
    counts(3, 3)
    for (const unsubscribe of [
      unsubscribeChannels[0], unsubscribeChannels[0], unsubscribePatterns[0], unsubscribePatterns[0]
    ]) unsubscribe?.()
    counts(3, 3)
    for (const unsubscribe of [...unsubscribeChannels, ...unsubscribePatterns]) unsubscribe()
    counts(0, 0)
  },

  async 'channels that look alike are counted apart' ({ provider, sides }) {
    for (const channel of ODD_CHANNELS) listen(provider, channel)
    await allSettled(sides)
    await drained(sides)
    assert.equal(provider.stats().channels, ODD_CHANNELS.length)
  },

  async 'who follows a channel counts like any other subscription' ({ provider }) {
    const c = fresh()
    const unsubscribe = provider.follow?.(c, { live () {}, lost () {}, receive () {} }) ??
      provider.subscribeExact(c, () => {})
    for (let n = 0; n < 3; n++) await settled(provider, c)
    assert.equal(provider.stats().channels, 1)
    unsubscribe()
  },

  async 'what is refused is not counted' ({ provider }) {
    const noHandler = null as unknown as () => void // Callers without type checks can pass it.
    for (const channel of NO_CHANNELS) {
      assert.throws(() => provider.subscribeExact(channel, () => {}))
      assert.throws(() => provider.subscribe(channel, () => {}))
      assert.throws(() => provider.follow === undefined
        ? assert.fail('it has none')
        : provider.follow(channel, { live () {}, lost () {}, receive () {} }))
    }
    assert.throws(() => provider.subscribeExact('c', noHandler))
    assert.throws(() => provider.subscribe('c*', noHandler))
    assert.deepEqual(provider.stats(), { channels: 0, patterns: 0 })
  },

  async 'after close nothing is counted' ({ provider, sides }) {
    const unsubscribed = subscribeBoth(provider, fresh(), () => {})
    await allSettled(sides)
    await provider.close()
    for (const unsubscribe of unsubscribed) unsubscribe()
    assert.deepEqual(provider.stats(), { channels: 0, patterns: 0 })
  }
}
