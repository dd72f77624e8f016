import assert from 'node:assert/strict'
import type { PubSubMessage, PubSubProvider } from '../pubsub/provider.ts'
import { allSettled, drained, fresh, listen, listenTo, subscribeBoth, type Bus } from './bus.ts'
import type { Cases } from './contract.ts'

/** Cases about unsubscribing, and about calls inside handlers. */
export const subscribing: Cases<Bus> = {
  async 'a subscription that was undone gets nothing more, and all others go on' ({ provider, sides }) {
    const c = fresh()
    const gone: unknown[] = []
    const note = ({ data }: PubSubMessage): void => { gone.push(data) }
    const unsubscribed = [
      ...subscribeBoth(provider, c, note),
      provider.subscribe(`[${c.charAt(0)}]${c.slice(1)}`, note)
    ]
    const kept = [listen(provider, c), listenTo(provider, `${c}*`), listenTo(provider, `?${c.slice(1)}`)]
    await allSettled(sides)
    await provider.publish(c, 1)
    await drained(sides)
    assert.deepEqual(gone, [1, 1, 1])
    for (const unsubscribe of [...unsubscribed, ...unsubscribed]) {
      assert.equal(
        unsubscribe(), undefined, 'also a second time'
      )
    }
    await allSettled(sides)
    await provider.publish(c, 2)
    await drained(sides)
    assert.deepEqual(gone, [1, 1, 1])
    for (const data of kept) assert.deepEqual(data, [1, 2])
  },

  async 'a subscription that is undone while a message is under way does not get it' ({ provider, sides }) {
    const c = fresh()
    const late: unknown[] = []
    const unsubscribed = subscribeBoth(provider, c, (message) => { late.push(message) })
    const kept = listen(provider, c)
    await allSettled(sides)
    const published = provider.publish(c, 1)
    for (const unsubscribe of unsubscribed) unsubscribe()
    await published
    await drained(sides)
    assert.deepEqual(late, [], 'nothing comes after an undo')
    assert.deepEqual(kept, [1])
  },

  async 'a handler that is subscribed twice gets a message twice, and once after one undo' ({ provider, sides }) {
    const c = fresh()
    const got: unknown[] = []
    const handler = ({ data }: PubSubMessage): void => { got.push(data) }
    const unsubscribed = subscribeBoth(provider, c, handler)
    subscribeBoth(provider, c, handler)
    await allSettled(sides)
    await provider.publish(c, 1)
    await drained(sides)
    for (const unsubscribe of [...unsubscribed, ...unsubscribed]) unsubscribe()
    await provider.publish(c, 2)
    await drained(sides)
    assert.deepEqual(got, [1, 1, 1, 1, 2, 2])
  },

  async 'a channel and a pattern can be subscribed to again after everybody left' ({ provider, sides }) {
    const c = fresh()
    for (let round = 0; round < 3; round++) {
      const got: unknown[] = []
      const unsubscribed = subscribeBoth(provider, c, ({ data }) => { got.push(data) })
      await allSettled(sides)
      await provider.publish(c, round)
      await drained(sides)
      assert.deepEqual(got, [round, round])
      for (const unsubscribe of unsubscribed) unsubscribe()
    }
  },

  async 'no handler runs inside publish' ({ provider, sides }) {
    const c = fresh()
    let publishing = false
    const during: boolean[] = []
    subscribeBoth(provider, c, () => { during.push(publishing) })
    await allSettled(sides)
    for (const ephemeral of [false, true]) {
      publishing = true
      const published = provider.publish(c, 1, { ephemeral })
      publishing = false
      await published
    }
    await drained(sides)
    assert.deepEqual(during, [false, false, false, false])
  },

  async 'a handler that throws or rejects keeps no other from the message, nor itself from the next' ({
    provider, sides
  }) {
    const c = fresh()
    const failed: unknown[] = []
    const failing = [
      ({ data }: PubSubMessage) => { failed.push(data); throw new Error('thrown on purpose') },
      ({ data }: PubSubMessage) => { failed.push(data); throw null }, // eslint-disable-line no-throw-literal
      async ({ data }: PubSubMessage) => { failed.push(data); throw new Error('rejected on purpose') },
      // eslint-disable-next-line prefer-promise-reject-errors
      ({ data }: PubSubMessage) => { failed.push(data); return Promise.reject(undefined) }
    ]
    for (const handler of failing) subscribeBoth(provider, c, handler)
    const got = [listen(provider, c), listenTo(provider, `${c}*`)]
    await allSettled(sides)
    await provider.publish(c, 1)
    await provider.publish(c, 2)
    await drained(sides)
    for (const data of got) assert.deepEqual(data, [1, 2])
    assert.deepEqual(failed.sort(), [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2])
  },

  async 'a handler can undo itself and others at once' ({ provider, sides }) {
    const c = fresh()
    const got: unknown[] = []
    const late: unknown[] = []
    const unsubscribeFirst = provider.subscribeExact(c, ({ data }) => {
      got.push(data); unsubscribeFirst(); unsubscribeLater()
    })
    const unsubscribeLater = provider.subscribeExact(c, ({ data }) => { late.push(data) })
    const kept = listen(provider, c)
    await allSettled(sides)
    await provider.publish(c, 1)
    await provider.publish(c, 2)
    await drained(sides)
    assert.deepEqual(got, [1])
    assert.deepEqual(late, [], 'it was undone before its turn')
    assert.deepEqual(kept, [1, 2])
  },

  async 'what a handler of a channel subscribes to the same channel gets the next message' ({ provider, sides }) {
    const c = fresh()
    await addsWhileHandling({ provider, sides, c, subscribe: (handler) => provider.subscribeExact(c, handler) })
  },

  async 'what a handler of a pattern subscribes to the same pattern gets the next message' ({ provider, sides }) {
    const c = fresh()
    await addsWhileHandling({ provider, sides, c, subscribe: (handler) => provider.subscribe(`${c}*`, handler) })
  },

  async 'what is no function is refused as a handler' ({ provider }) {
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
  await allSettled(sides)
  await provider.publish(c, 1)
  await drained(sides)
  assert.deepEqual(got, [])
  await provider.publish(c, 2)
  await drained(sides)
  assert.deepEqual(got, [2])
}
