import assert from 'node:assert/strict'
import type { PubSubMessage, PubSubProvider } from '../pubsub/provider.ts'
import { untilAllActive, untilDelivered, freshName, collect, collectPattern, type Bus } from './bus.ts'
import type { Cases } from './contract.ts'
import type { ChannelFeed } from '../pubsub/channel-feed.ts'

/** Cases about delivery: messages arrive unchanged and in order. */
export const delivery: Cases<Bus> = {
  async 'a message reaches every subscription on every instance once, including its publisher' ({
    provider, peer, sides
  }) {
    const c = freshName()
    // A provider may subscribe to a broader pattern at its broker, such as `?` for `[.]`. It must still filter exactly.
    const collectAll = (side: PubSubProvider): unknown[][] =>
      [
        collect(side, `${c}.a`),
        collect(side, `${c}.a`),
        ...['.*', '*', '.?', '.?', '[.]a', '.[a-c]', '.\\a'].map((end) => collectPattern(side, c + end))
      ]
    const got = sides.flatMap(collectAll)
    const others = sides.flatMap((side) => [
      collect(side, `${c}.b`),
      collect(side, `${c}.?`),
      collectPattern(side, `${c}.[b-z]`),
      collectPattern(side, `${c}.`)
    ])
    await untilAllActive(sides)
    assert.equal((await provider.publish(`${c}.a`, 1)).duplicate, false)
    assert.equal((await peer.publish(`${c}.a`, 2)).duplicate, false)
    await untilDelivered(sides)
    for (const data of got) assert.deepEqual([...data].sort(), [1, 2])
    for (const data of others) assert.deepEqual(data, [])
  },

  async 'an ephemeral message reaches every subscription on every instance once' ({ provider, peer, sides }) {
    const c = freshName()
    const got = sides.flatMap((side) => [
      collect(side, c), collectPattern(side, `${c}*`), collectPattern(side, `${c.slice(0, -1)}?`)
    ])
    await untilAllActive(sides)
    assert.equal((await provider.publish(c, 1, { ephemeral: true })).duplicate, false)
    assert.equal((await peer.publish(c, 2, { ephemeral: true })).duplicate, false)
    await provider.publish(c, 3, { ephemeral: false })
    await untilDelivered(sides)
    for (const data of got) assert.deepEqual([...data].sort(), [1, 2, 3])
  },

  async 'a message has its channel, its data, the time of publishing and its publisher' ({ provider, sides }) {
    const c = freshName()
    const got: PubSubMessage[] = []
    for (const side of sides) {
      side.subscribeExact(c, (message) => { got.push(message) })
      side.subscribe(`${c}*`, (message) => { got.push(message) })
    }
    await untilAllActive(sides)
    const text = 'é€😀\n\0\u2028'
    const data = JSON.parse(
      JSON.stringify({ text, list: [null, false, 0, ''] }).replace('{', '{"__proto__":{"polluted":true},')
    )
    const before = Date.now()
    await provider.publish(c, { ...data, at: new Date(0), none: undefined })
    const after = Date.now()
    await untilDelivered(sides)
    assert.equal(got.length, 2 * sides.length)
    const { instanceId = got[0]?.from } = provider as Partial<ChannelFeed>
    assert.ok(typeof instanceId === 'string' && instanceId !== '', 'a publisher has an instance id')
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

  async 'every kind of JSON value arrives unchanged' ({ provider, sides }) {
    const c = freshName()
    const values = [null, false, true, 0, -1.5, '', 'text', [], [[]], {}, { type: 'message' }, { type: '\n' }]
    const got = sides.map((side) => collect(side, c))
    await untilAllActive(sides)
    for (const value of values) await provider.publish(c, value)
    await untilDelivered(sides)
    for (const data of got) assert.deepEqual(data, values)
  },

  async 'messages of one publisher on one channel arrive in order, even if it awaits no publish' ({
    provider, peer, sides
  }) {
    const c = freshName()
    const got = sides.flatMap((side) => [collect(side, c), collectPattern(side, `${c}*`)])
    await untilAllActive(sides)
    const numbers = Array.from({ length: 1_000 }, (_, n) => n)
    await Promise.all(numbers.flatMap((n) => [provider.publish(c, { by: 1, n }), peer.publish(c, { by: 2, n })]))
    await untilDelivered(sides)
    for (const data of got as { by: number, n: number }[][]) {
      for (const by of [1, 2]) assert.deepEqual(data.filter((message) => message.by === by).map(({ n }) => n), numbers)
    }
  },

  async 'a message that a handler publishes comes after the one that it handles, for every handler' ({
    provider, sides
  }) {
    const c = freshName()
    const before = [collect(provider, c), collectPattern(provider, `${c}*`)]
    provider.subscribeExact(c, ({ data }) => { if (data !== 'answer') provider.publish(c, 'answer') })
    const reply = new Promise<void>((resolve) => {
      provider.subscribeExact(c, ({ data }) => { if (data === 'answer') resolve() })
    })
    const after = [collect(provider, c), collectPattern(provider, `${c}*`)]
    await untilAllActive(sides)
    await provider.publish(c, 'question')
    await reply
    await untilDelivered(sides)
    for (const data of [...before, ...after]) assert.deepEqual(data, ['question', 'answer'])
  }
}
