import assert from 'node:assert/strict'
import type { PubSubProvider, PubSubStats } from '../pubsub/provider.ts'
import {
  untilAllActive, untilDelivered, freshName, collect, openBus, untilActive, subscribeBoth, type Bus
} from './bus.ts'
import { INVALID_CHANNELS, ODD_CHANNELS } from './channels.ts'
import { contract, type Cases, type ContractCase, type Make } from './contract.ts'
import type { ChannelFeed } from '../pubsub/channel-feed.ts'

/** A provider that counts its subscriptions. It may be a `ChannelFeed`, too. */
export type CountingProvider = PubSubProvider & PubSubStats & Partial<ChannelFeed>

/** The contract of a provider that also has `PubSubStats`. Run it in addition to `providerContract`. */
export function statsContract (make: Make<CountingProvider>): ContractCase[] {
  return contract(counting, (closeLater) => openBus(make, closeLater))
}

const counting: Cases<Bus<CountingProvider>> = {
  async 'each channel and pattern counts once, however many handlers it has' ({ provider }) {
    const counts = (channels: number, patterns: number): void => {
      assert.deepEqual(provider.stats(), { channels, patterns })
    }
    counts(0, 0)
    const unsubscribeChannels = ['a', 'a', 'b', 'a*'].map((channel) => provider.subscribeExact(channel, () => {}))
    counts(3, 0)
    const unsubscribePatterns = ['a*', 'a*', 'a?', 'a[b]'].map((pattern) => provider.subscribe(pattern, () => {}))
    counts(3, 3)
    await untilActive(provider)
    counts(3, 3)
    for (const unsubscribe of [
      unsubscribeChannels[0], unsubscribeChannels[0], unsubscribePatterns[0], unsubscribePatterns[0]
    ]) unsubscribe?.()
    counts(3, 3)
    for (const unsubscribe of [...unsubscribeChannels, ...unsubscribePatterns]) unsubscribe()
    counts(0, 0)
  },

  async 'similar channels are counted separately' ({ provider, sides }) {
    for (const channel of ODD_CHANNELS) collect(provider, channel)
    await untilAllActive(sides)
    await untilDelivered(sides)
    assert.equal(provider.stats().channels, ODD_CHANNELS.length)
  },

  async 'a followed channel counts like any other subscription' ({ provider }) {
    const c = freshName()
    const unsubscribe = provider.follow?.(c, { live () {}, lost () {}, receive () {} }) ??
      provider.subscribeExact(c, () => {})
    for (let n = 0; n < 3; n++) await untilActive(provider, c)
    assert.equal(provider.stats().channels, 1)
    unsubscribe()
  },

  async 'a refused subscription is not counted' ({ provider }) {
    const noHandler = null as unknown as () => void // Callers without type checks can pass it.
    for (const channel of INVALID_CHANNELS) {
      assert.throws(() => provider.subscribeExact(channel, () => {}))
      assert.throws(() => provider.subscribe(channel, () => {}))
      assert.throws(() => provider.follow === undefined
        ? assert.fail('it has no follow')
        : provider.follow(channel, { live () {}, lost () {}, receive () {} }))
    }
    assert.throws(() => provider.subscribeExact('c', noHandler))
    assert.throws(() => provider.subscribe('c*', noHandler))
    assert.deepEqual(provider.stats(), { channels: 0, patterns: 0 })
  },

  async 'after close nothing is counted' ({ provider, sides }) {
    const unsubscribes = subscribeBoth(provider, freshName(), () => {})
    await untilAllActive(sides)
    await provider.close()
    for (const unsubscribe of unsubscribes) unsubscribe()
    assert.deepEqual(provider.stats(), { channels: 0, patterns: 0 })
  }
}
