import assert from 'node:assert/strict'
import type { PubSubProvider } from '../pubsub/provider.ts'
import { allSettled, drained, fresh, listen, settled, subscribeBoth, type Bus } from './bus.ts'
import type { Cases } from './contract.ts'

/** Cases about the health of a provider, and about closing it. */
export const closing: Cases<Bus> = {
  async 'a provider has a name' ({ provider }) {
    assert.ok(typeof provider.name === 'string' && provider.name !== '')
  },

  async 'a provider whose subscriptions hold is healthy' ({ sides }) {
    await allSettled(sides)
    for (const side of sides) {
      // The provider may publish over another connection, which opens later than the subscribing one.
      await side.publish('c', 1)
      assert.deepEqual(await Promise.all([side.isHealthy(), side.isHealthy()]), [true, true])
    }
  },

  async 'after close no handler runs, and publishing and subscribing are refused' ({ provider, peer, sides }) {
    const c = fresh()
    const late: unknown[] = []
    const unsubscribed = subscribeBoth(provider, c, (message) => { late.push(message) })
    await allSettled(sides)
    const underWay = [provider.publish(c, 1), provider.publish(c, 2, { ephemeral: true })]
    const closing = [provider.close(), provider.close()]
    await refuses(provider)
    // Published before `close`, so it may succeed or not; but no handler of this provider may run.
    await Promise.allSettled(underWay)
    await Promise.all(closing)
    await provider.close()
    await refuses(provider)
    if (peer !== provider) {
      await peer.publish(c, 3)
      await drained([peer])
    }
    for (const unsubscribe of unsubscribed) unsubscribe()
    assert.deepEqual(late, [], 'no handler runs after close')
  },

  async 'a handler that closes the provider is the last that runs' ({ provider, sides }) {
    const c = fresh()
    const late: unknown[] = []
    const closed = new Promise<void>((resolve) => {
      provider.subscribeExact(c, () => resolve(provider.close()))
    })
    subscribeBoth(provider, c, (message) => { late.push(message) })
    await allSettled(sides)
    await Promise.allSettled([provider.publish(c, 1), provider.publish(c, 2)])
    await closed
    assert.deepEqual(late, [])
  },

  async 'closing one instance leaves the others alone' ({ provider, peer }) {
    if (peer === provider) return
    const c = fresh()
    const got = listen(peer, c)
    await settled(peer)
    await provider.close()
    await peer.publish(c, 1)
    await drained([peer])
    assert.deepEqual(got, [1])
    assert.equal(await peer.isHealthy(), true)
  }
}

async function refuses (provider: PubSubProvider): Promise<void> {
  for (const ephemeral of [false, true]) {
    await assert.rejects(
      provider.publish('c', 1, { ephemeral }), { code: 'RT_CLOSED', statusCode: 503 }
    )
  }
  assert.throws(() => provider.subscribe('c', () => {}), { code: 'RT_CLOSED' })
  assert.throws(() => provider.subscribeExact('c', () => {}), { code: 'RT_CLOSED' })
  assert.equal(await provider.isHealthy(), false)
}
