import assert from 'node:assert/strict'
import type { PubSubProvider } from '../pubsub/provider.ts'
import { untilAllActive, untilDelivered, freshName, collect, untilActive, subscribeBoth, type Bus } from './bus.ts'
import type { Cases } from './contract.ts'

/** Cases about the health of a provider, and about closing it. */
export const closing: Cases<Bus> = {
  async 'a provider has a name' ({ provider }) {
    assert.ok(typeof provider.name === 'string' && provider.name !== '')
  },

  async 'a provider whose subscriptions are active is healthy' ({ sides }) {
    await untilAllActive(sides)
    for (const side of sides) {
      // The provider may publish over another connection, which opens later than the subscribing one.
      await side.publish('c', 1)
      assert.deepEqual(await Promise.all([side.isHealthy(), side.isHealthy()]), [true, true])
    }
  },

  async 'after close no handler runs, and publishing and subscribing are refused' ({ provider, peer, sides }) {
    const c = freshName()
    const late: unknown[] = []
    const unsubscribes = subscribeBoth(provider, c, (message) => { late.push(message) })
    await untilAllActive(sides)
    const pending = [provider.publish(c, 1), provider.publish(c, 2, { ephemeral: true })]
    const closed = [provider.close(), provider.close()]
    await assertClosed(provider)
    // Published before `close`, so it may succeed or not; but no handler of this provider may run.
    await Promise.allSettled(pending)
    await Promise.all(closed)
    await provider.close()
    await assertClosed(provider)
    if (peer !== provider) {
      await peer.publish(c, 3)
      await untilDelivered([peer])
    }
    for (const unsubscribe of unsubscribes) unsubscribe()
    assert.deepEqual(late, [], 'no handler runs after close')
  },

  async 'after a handler has closed the provider, no other handler runs' ({ provider, sides }) {
    const c = freshName()
    const late: unknown[] = []
    const closed = new Promise<void>((resolve) => {
      provider.subscribeExact(c, () => resolve(provider.close()))
    })
    subscribeBoth(provider, c, (message) => { late.push(message) })
    await untilAllActive(sides)
    await Promise.allSettled([provider.publish(c, 1), provider.publish(c, 2)])
    await closed
    assert.deepEqual(late, [])
  },

  async 'closing one instance leaves the others alone' ({ provider, peer }) {
    if (peer === provider) return
    const c = freshName()
    const got = collect(peer, c)
    await untilActive(peer)
    await provider.close()
    await peer.publish(c, 1)
    await untilDelivered([peer])
    assert.deepEqual(got, [1])
    assert.equal(await peer.isHealthy(), true)
  }
}

async function assertClosed (provider: PubSubProvider): Promise<void> {
  for (const ephemeral of [false, true]) {
    await assert.rejects(
      provider.publish('c', 1, { ephemeral }), { code: 'RT_CLOSED', statusCode: 503 }
    )
  }
  assert.throws(() => provider.subscribe('c', () => {}), { code: 'RT_CLOSED' })
  assert.throws(() => provider.subscribeExact('c', () => {}), { code: 'RT_CLOSED' })
  assert.equal(await provider.isHealthy(), false)
}
