import assert from 'node:assert/strict'
import type { PubSubMessage, PubSubProvider } from '../pubsub/provider.ts'
import { allSettled, drained, fresh, listen, listenTo, type Bus } from './bus.ts'
import type { Cases } from './contract.ts'
import type { ChannelFeed } from '../pubsub/channel-feed.ts'

/** Cases about delivery: messages arrive unchanged and in order. */
export const delivery: Cases<Bus> = {
  async 'a message reaches every subscription on every instance once, the publisher\'s too' ({
    provider, peer, sides
  }) {
    const c = fresh()
    // A provider may subscribe to a broader pattern at its broker, such as `?` for `[.]`. It must still filter exactly.
    const subscribed = (side: PubSubProvider): unknown[][] =>
      [
        listen(side, `${c}.a`),
        listen(side, `${c}.a`),
        ...['.*', '*', '.?', '.?', '[.]a', '.[a-c]', '.\\a'].map((end) => listenTo(side, c + end))
      ]
    const got = sides.flatMap(subscribed)
    const others = sides.flatMap((side) => [
      listen(side, `${c}.b`), listen(side, `${c}.?`), listenTo(side, `${c}.[b-z]`), listenTo(side, `${c}.`)
    ])
    await allSettled(sides)
    assert.equal((await provider.publish(`${c}.a`, 1)).duplicate, false)
    assert.equal((await peer.publish(`${c}.a`, 2)).duplicate, false)
    await drained(sides)
    for (const data of got) assert.deepEqual([...data].sort(), [1, 2])
    for (const data of others) assert.deepEqual(data, [])
  },

  async 'an ephemeral message reaches every subscription on every instance once' ({ provider, peer, sides }) {
    const c = fresh()
    const got = sides.flatMap((side) => [
      listen(side, c), listenTo(side, `${c}*`), listenTo(side, `${c.slice(0, -1)}?`)
    ])
    await allSettled(sides)
    assert.equal((await provider.publish(c, 1, { ephemeral: true })).duplicate, false)
    assert.equal((await peer.publish(c, 2, { ephemeral: true })).duplicate, false)
    await provider.publish(c, 3, { ephemeral: false })
    await drained(sides)
    for (const data of got) assert.deepEqual([...data].sort(), [1, 2, 3])
  },

  async 'a message tells its channel, its data, when it was published and by whom' ({ provider, sides }) {
    const c = fresh()
    const got: PubSubMessage[] = []
    for (const side of sides) {
      side.subscribeExact(c, (message) => { got.push(message) })
      side.subscribe(`${c}*`, (message) => { got.push(message) })
    }
    await allSettled(sides)
    const text = 'é€😀\n\0\u2028'
    const data = JSON.parse(
      JSON.stringify({ text, list: [null, false, 0, ''] }).replace('{', '{"__proto__":{"polluted":true},')
    )
    const before = Date.now()
    await provider.publish(c, { ...data, at: new Date(0), none: undefined })
    const after = Date.now()
    await drained(sides)
    assert.equal(got.length, 2 * sides.length)
    const { instanceId = got[0]?.from } = provider as Partial<ChannelFeed>
    assert.ok(typeof instanceId === 'string' && instanceId !== '', 'a publisher has a name')
    for (const { channel, from, timestamp, data } of got) {
      const published = data as Record<string, unknown>
      assert.deepEqual([channel, from], [c, instanceId])
      assert.ok(before <= timestamp && timestamp <= after, 'its time is that of publishing, in milliseconds since 1970')
      assert.deepEqual(
        [published.text, published.list, published.at],
        [text, [null, false, 0, ''], '1970-01-01T00:00:00.000Z']
      )
      assert.deepEqual(Object.keys(published).sort(), ['__proto__', 'at', 'list', 'text'])
      assert.ok(!('polluted' in published))
    }
  },

  async 'every kind of value that JSON can carry arrives as it was' ({ provider, sides }) {
    const c = fresh()
    const values = [null, false, true, 0, -1.5, '', 'text', [], [[]], {}, { type: 'message' }, { type: '\n' }]
    const got = sides.map((side) => listen(side, c))
    await allSettled(sides)
    for (const value of values) await provider.publish(c, value)
    await drained(sides)
    for (const data of got) assert.deepEqual(data, values)
  },

  async 'messages of one publisher on one channel arrive in the order of publishing, though nobody awaits in between' ({
    provider, peer, sides
  }) {
    const c = fresh()
    const got = sides.flatMap((side) => [listen(side, c), listenTo(side, `${c}*`)])
    await allSettled(sides)
    const numbers = Array.from({ length: 1_000 }, (_, n) => n)
    await Promise.all(numbers.flatMap((n) => [provider.publish(c, { by: 1, n }), peer.publish(c, { by: 2, n })]))
    await drained(sides)
    for (const data of got as { by: number, n: number }[][]) {
      for (const by of [1, 2]) assert.deepEqual(data.filter((message) => message.by === by).map(({ n }) => n), numbers)
    }
  },

  async 'what a handler publishes comes after the message that it handles, for every handler' ({ provider, sides }) {
    const c = fresh()
    const before = [listen(provider, c), listenTo(provider, `${c}*`)]
    provider.subscribeExact(c, ({ data }) => { if (data !== 'answer') provider.publish(c, 'answer') })
    const reply = new Promise<void>((resolve) => {
      provider.subscribeExact(c, ({ data }) => { if (data === 'answer') resolve() })
    })
    const after = [listen(provider, c), listenTo(provider, `${c}*`)]
    await allSettled(sides)
    await provider.publish(c, 'question')
    await reply
    await drained(sides)
    for (const data of [...before, ...after]) assert.deepEqual(data, ['question', 'answer'])
  }
}
