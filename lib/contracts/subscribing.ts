import assert from 'node:assert/strict'
import type { PubSubMessage, PubSubProvider } from '../pubsub/provider.ts'
import { untilAllActive, untilDelivered, freshName, collect, collectPattern, subscribeBoth, type Bus } from './bus.ts'
import type { Cases } from './contract.ts'

/** Cases about unsubscribing, and about calls inside handlers. */
export const subscribing: Cases<Bus> = {
  async 'a handler that was unsubscribed gets no more messages, and all others still do' ({ provider, sides }) {
    const c = freshName()
    const got: unknown[] = []
    const handler = ({ data }: PubSubMessage): void => { got.push(data) }
    const unsubscribes = [
      ...subscribeBoth(provider, c, handler),
      provider.subscribe(`[${c.charAt(0)}]${c.slice(1)}`, handler)
    ]
    const kept = [collect(provider, c), collectPattern(provider, `${c}*`), collectPattern(provider, `?${c.slice(1)}`)]
    await untilAllActive(sides)
    await provider.publish(c, 1)
    await untilDelivered(sides)
    assert.deepEqual(got, [1, 1, 1])
    for (const unsubscribe of [...unsubscribes, ...unsubscribes]) {
      assert.equal(unsubscribe(), undefined, 'also a second time')
    }
    await untilAllActive(sides)
    await provider.publish(c, 2)
    await untilDelivered(sides)
    assert.deepEqual(got, [1, 1, 1])
    for (const data of kept) assert.deepEqual(data, [1, 2])
  },

  async 'a handler that is unsubscribed while a message is on its way does not get it' ({ provider, sides }) {
    const c = freshName()
    const late: unknown[] = []
    const unsubscribes = subscribeBoth(provider, c, (message) => { late.push(message) })
    const kept = collect(provider, c)
    await untilAllActive(sides)
    const published = provider.publish(c, 1)
    for (const unsubscribe of unsubscribes) unsubscribe()
    await published
    await untilDelivered(sides)
    assert.deepEqual(late, [], 'no message arrives after unsubscribing')
    assert.deepEqual(kept, [1])
  },

  async 'a handler that is subscribed twice gets each message twice, and once after it was unsubscribed once' ({
    provider, sides
  }) {
    const c = freshName()
    const got: unknown[] = []
    const handler = ({ data }: PubSubMessage): void => { got.push(data) }
    const unsubscribes = subscribeBoth(provider, c, handler)
    subscribeBoth(provider, c, handler)
    await untilAllActive(sides)
    await provider.publish(c, 1)
    await untilDelivered(sides)
    for (const unsubscribe of [...unsubscribes, ...unsubscribes]) unsubscribe()
    await provider.publish(c, 2)
    await untilDelivered(sides)
    assert.deepEqual(got, [1, 1, 1, 1, 2, 2])
  },

  async 'a channel and a pattern can be subscribed to again after all handlers were unsubscribed' ({
    provider, sides
  }) {
    const c = freshName()
    for (let round = 0; round < 3; round++) {
      const got: unknown[] = []
      const unsubscribes = subscribeBoth(provider, c, ({ data }) => { got.push(data) })
      await untilAllActive(sides)
      await provider.publish(c, round)
      await untilDelivered(sides)
      assert.deepEqual(got, [round, round])
      for (const unsubscribe of unsubscribes) unsubscribe()
    }
  },

  async 'no handler runs inside publish' ({ provider, sides }) {
    const c = freshName()
    let publishing = false
    const during: boolean[] = []
    subscribeBoth(provider, c, () => { during.push(publishing) })
    await untilAllActive(sides)
    for (const ephemeral of [false, true]) {
      publishing = true
      const published = provider.publish(c, 1, { ephemeral })
      publishing = false
      await published
    }
    await untilDelivered(sides)
    assert.deepEqual(during, [false, false, false, false])
  },

  async 'a handler that throws or rejects does not stop the others, and gets the next message' ({
    provider, sides
  }) {
    const c = freshName()
    const failed: unknown[] = []
    const failing = [
      ({ data }: PubSubMessage) => { failed.push(data); throw new Error('thrown on purpose') },
      ({ data }: PubSubMessage) => { failed.push(data); throw null }, // eslint-disable-line no-throw-literal
      async ({ data }: PubSubMessage) => { failed.push(data); throw new Error('rejected on purpose') },
      // eslint-disable-next-line prefer-promise-reject-errors
      ({ data }: PubSubMessage) => { failed.push(data); return Promise.reject(undefined) }
    ]
    for (const handler of failing) subscribeBoth(provider, c, handler)
    const got = [collect(provider, c), collectPattern(provider, `${c}*`)]
    await untilAllActive(sides)
    await provider.publish(c, 1)
    await provider.publish(c, 2)
    await untilDelivered(sides)
    for (const data of got) assert.deepEqual(data, [1, 2])
    assert.deepEqual(failed.sort(), [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2])
  },

  async 'a handler can unsubscribe itself and others at once' ({ provider, sides }) {
    const c = freshName()
    const got: unknown[] = []
    const late: unknown[] = []
    const unsubscribeFirst = provider.subscribeExact(c, ({ data }) => {
      got.push(data); unsubscribeFirst(); unsubscribeLater()
    })
    const unsubscribeLater = provider.subscribeExact(c, ({ data }) => { late.push(data) })
    const kept = collect(provider, c)
    await untilAllActive(sides)
    await provider.publish(c, 1)
    await provider.publish(c, 2)
    await untilDelivered(sides)
    assert.deepEqual(got, [1])
    assert.deepEqual(late, [], 'it was unsubscribed before its turn')
    assert.deepEqual(kept, [1, 2])
  },

  async 'a handler that is subscribed to a channel during a message of that channel gets the next one' ({
    provider, sides
  }) {
    const c = freshName()
    await addsWhileHandling({ provider, sides, c, subscribe: (handler) => provider.subscribeExact(c, handler) })
  },

  async 'a handler that is subscribed to a pattern during a message of that pattern gets the next one' ({
    provider, sides
  }) {
    const c = freshName()
    await addsWhileHandling({ provider, sides, c, subscribe: (handler) => provider.subscribe(`${c}*`, handler) })
  },

  async 'a handler that is not a function is refused' ({ provider }) {
    for (const wrong of [undefined, null, {}, 'handler', Promise.resolve()]) {
      const handler = wrong as () => void // Callers without type checks can pass it.
      assert.throws(() => provider.subscribeExact('c', handler), { code: 'RT_HANDLER_INVALID' })
      assert.throws(() => provider.subscribe('c*', handler), { code: 'RT_HANDLER_INVALID' })
    }
  }
}

interface Adding {
  provider: PubSubProvider,
  sides: PubSubProvider[],
  c: string,
  subscribe: (handler: (message: PubSubMessage) => void) => () => void
}

async function addsWhileHandling ({ provider, sides, c, subscribe }: Adding): Promise<void> {
  const got: unknown[] = []
  const adding = (): void => {
    unsubscribe()
    unsubscribe = subscribe(adding)
    subscribe(({ data }) => { got.push(data) })
  }
  let unsubscribe = subscribe(adding)
  // Keeps the channel subscribed, so that the new subscription is active at once.
  subscribe(() => {})
  await untilAllActive(sides)
  await provider.publish(c, 1)
  await untilDelivered(sides)
  assert.deepEqual(got, [])
  await provider.publish(c, 2)
  await untilDelivered(sides)
  assert.deepEqual(got, [2])
}
