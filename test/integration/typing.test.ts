import t, { type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { chatEvents, closePubSub, emitTyping, type ChatEvent, type ChatEventInfo } from '../../lib/index.ts'
import { TypingThrottle } from '../../lib/presence/typing-throttle.ts'
import { startApp } from '../support/app.ts'
import { EventStream } from '../support/event-stream.ts'
import { startRedis } from '../support/redis.ts'
import { nothingUnhandled } from '../support/unhandled.ts'
import { timing } from '../../lib/core/timing.ts'

t.beforeEach(nothingUnhandled)

interface Side { app: FastifyInstance, url: string }

const setups: Record<string, (t: Test) => Promise<{ one: Side, two: Side }>> = {
  'in one process': async (t) => {
    const one = await startApp(t)
    return { one, two: one }
  },
  'over Redis': async (t) => {
    const { url: redisUrl } = await startRedis(t)
    const [one, two] = await Promise.all(['one', 'two'].map((instanceId) => startApp(t, { redisUrl, instanceId })))
    return { one, two } as { one: Side, two: Side }
  }
}

async function open (t: Test, { url }: Side, query = ''): Promise<EventStream> {
  const stream = await EventStream.open(t, `${url}/api/chats/c/events${query}`)
  await stream.next()
  return stream
}

for (const [name, setup] of Object.entries(setups)) {
  t.test(name, async (t) => {
    const { one, two } = await setup(t)
    const streams = [await open(t, one), await open(t, two)]
    const handled: [ChatEvent, ChatEventInfo][] = []
    two.app.chatEvents.onChatEvent('c', (event, info) => { handled.push([event, info]) })
    const type = (user: string, typing?: boolean): Promise<boolean> => {
      return one.app.chatEvents.emitTyping('c', user, { typing })
    }
    t.same(
      [
        await type('ann'),
        await type('ann', true),
        await type('bob'),
        await type('ann', false),
        await type('ann', false),
        await type('ann')
      ],
      [true, false, true, true, false, true]
    )
    t.equal(await one.app.chatEvents.emitTyping('d', 'ann'), true, 'each chat by itself')
    await one.app.chatEvents.emitChatMessage('c', {})
    const typing = (user: string, expiresInMs: number): object => {
      return { event: 'typing', id: undefined, data: { type: 'typing', chatId: 'c', user, expiresInMs } }
    }
    for (const stream of streams) {
      const events = await stream.take(5)
      // Ephemeral events can arrive before or after logged ones.
      t.same(events.filter(({ event }) => event === 'typing'), [
        typing('ann', 6_000), typing('bob', 6_000), typing('ann', 0), typing('ann', 6_000)
      ])
    }
    t.equal(handled.length, 5)
    t.match(handled.find(([{ type }]) => type === 'typing'), [
      { user: 'ann' }, { id: undefined, from: one.app.pubsub === two.app.pubsub ? String : 'one' }
    ])
    t.match(await (await open(t, two, '?rewind=10')).next(), { event: /^message$/ }, 'none of it is kept')
  })
}

t.test('a wrong user or chat is refused', async (t) => {
  const { app } = await startApp(t)
  for (const user of ['', 'x'.repeat(257), '\ud800']) {
    await t.rejects(app.chatEvents.emitTyping('c', user), {
      code: 'RT_USER_ID_INVALID', statusCode: 400, message: /an empty, long or ill-formed string/
    })
  }
  await t.rejects(app.chatEvents.emitTyping('c', 5 as unknown as string), {
    code: 'RT_USER_ID_INVALID', message: /got number/
  })
  await t.rejects(app.chatEvents.emitTyping('', 'ann'), { code: 'RT_CHAT_ID_INVALID' })
  await app.close()
  await t.rejects(app.chatEvents.emitTyping('c', 'ann'), { code: 'RT_CLOSED' })
})

t.test('only the user of the client types, whatever the client claims', async (t) => {
  const { app } = await startApp(t)
  const type = (typing: unknown): Promise<boolean> => {
    return app.chatEvents.emitTyping('c', 'ann', { typing: typing as boolean })
  }
  const said: boolean[] = []
  for (const typing of [{}, {}, [], 1, 'yes', true, null, 0, false]) said.push(await type(typing))
  t.same(said, [true, false, false, false, false, false, true, false, false])
})

t.test('outside Fastify', async (t) => {
  t.teardown(closePubSub)
  const heard = new Promise((resolve) => chatEvents.on('c', resolve))
  t.equal(await emitTyping('c', 'ann'), true)
  t.same(await heard, { type: 'typing', chatId: 'c', user: 'ann', expiresInMs: timing.typingExpiry })
})

t.test('repeated signals are sent once in a while, so that a user who keeps typing stays shown', async (t) => {
  const throttle = new TypingThrottle()
  const { typingThrottle: window, typingExpiry: expiry } = timing
  t.same([0, 1, window - 1, window, window + 1].map((now) => throttle.admits('c', 'ann', true, now)), [
    true, false, false, true, false
  ])
  t.ok(2 * window < expiry, 'one that is lost is made up for in time')
})

t.test('it keeps no more than necessary', async (t) => {
  const throttle = new TypingThrottle()
  t.ok(Array.from({ length: 10_001 }, (_, n) => throttle.admits('c', `user ${n}`, true, 0)).every(Boolean))
  t.equal(throttle.admits('c', 'user 10000', true, 0), false)
  t.equal(throttle.admits('c', 'user 0', true, 0), true, 'the oldest was forgotten')
})
