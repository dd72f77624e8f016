import t from 'tap'
import { ChatEvents, LocalPubSub, type ChatEvent } from '../../../lib/index.ts'
import { silentLogger } from '../../../lib/core/logger.ts'
import { startApp } from '../../support/app.ts'
import { EventStream } from '../../support/event-stream.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { until } from '../../support/until.ts'
import { type Setup, setups } from './setups.ts'
import { authorize, open, asked } from './sides.ts'

t.beforeEach(nothingUnhandled)

for (const [name, setup] of Object.entries(setups)) {
  t.test(name, async (t) => {
    t.beforeEach(nothingUnhandled)

    t.test('a user joins with the first open chat, and leaves a while after the last tab has closed', async (t) => {
      const { one, two } = await setup(t)
      t.same(await one.app.chatEvents.presence('c'), [])
      const watcher = await open(t, two)
      const handled: ChatEvent[] = []
      two.app.chatEvents.onChatEvent('c', (event) => { handled.push(event) })
      const ann = await open(t, one, 'ann')
      await watcher.until('ann')
      await ann.until('ann')
      const bobs = [await open(t, two, 'bob'), await open(t, one, 'bob')] as const
      await watcher.until('ann', 'bob')
      await bobs[1].until('ann', 'bob')
      await asked([one, two], ['ann', 'bob'])
      bobs[0].close()
      await open(t, one, 'cem')
      await watcher.until('ann', 'bob', 'cem')
      bobs[1].close()
      await watcher.until('ann', 'cem')
      await asked([one, two], ['ann', 'cem'])
      t.same(watcher.reader.received, [
        { users: [] },
        { joined: ['ann'], left: [] },
        { joined: ['bob'], left: [] },
        { joined: ['cem'], left: [] },
        { joined: [], left: ['bob'] }
      ], 'each once, in one order')
      t.same(
        handled,
        watcher.reader.received.slice(1).map((who) => ({ type: 'presence', chatId: 'c', ...who })),
        'handlers get the same'
      )
      const late = await open(t, two)
      t.equal(late.reader.take(await late.stream.next()), true)
      t.same(late.reader.received, [{ users: ['ann', 'cem'] }], 'a late client gets all users at once')
      t.same([...watcher.reader.faults, ...ann.reader.faults, ...late.reader.faults], [])
    })

    t.test('a reloaded page, or a client that changes instances, does not leave', async (t) => {
      const { one, two } = await setup(t, { graceMs: 1_500 })
      const watcher = await open(t, two)
      let ann = await open(t, one, 'ann')
      await watcher.until('ann')
      for (const side of [one, two, one]) {
        ann.close()
        ann = await open(t, side, 'ann')
        await ann.until('ann')
      }
      ann.close()
      await watcher.until()
      t.same(watcher.reader.received, [{ users: [] }, { joined: ['ann'], left: [] }, { joined: [], left: ['ann'] }])
    })

    t.test('a user of a stream of several chats is present in each, under the name for that chat', async (t) => {
      const { one, two } = await setup(t, true, {
        authorize: ({ query }, chatId) => ({ userId: `${(query as { user: string }).user} of ${chatId}` })
      })
      await open(t, one, 'ann', '/api/chats/events?chat=a&chat=b')
      await asked([one, two], ['ann of a'], 'a')
      await asked([one, two], ['ann of b'], 'b')
      t.same(await one.app.chatEvents.presence('c'), [])
    })

    t.test('user ids of any kind arrive unchanged', async (t) => {
      const { one, two } = await setup(t)
      const users = [
        '__proto__', 'a\r\n\r\ndata: x', '\0', ' ', ':', 'presence:one:x', '%41', 'A', '=a', '😀'.repeat(128)
      ].sort()
      const watcher = await open(t, two)
      const tabs = await Promise.all(users.map((user) => open(t, one, encodeURIComponent(user))))
      await watcher.until(...users)
      await asked([one, two], users)
      for (const { close } of tabs) close()
      await watcher.until()
      t.same(watcher.reader.faults, [])
    })

    t.test('a user whose access is revoked leaves at once', async (t) => {
      const { one, two } = await setup(t, { graceMs: 60_000 })
      const watcher = await open(t, two)
      const tabs = [await open(t, one, 'ann'), await open(t, two, 'ann')]
      await watcher.until('ann')
      await one.app.chatEvents.revoke('c', 'ann')
      await one.app.chatEvents.revoke('c', 'nobody')
      for (const { stream } of tabs) await stream.end()
      await watcher.until()
      await asked([one, two], [])
      await open(t, two, 'ann')
      await watcher.until('ann')
      t.same(watcher.reader.faults, [])
    })

    t.test('a user whose grant expires leaves after the grace period', async (t) => {
      let granted = 0
      const { one, two } = await setup(t, { graceMs: 100 }, {
        authorize: ({ query }) => 'user' in (query as object)
          ? granted++ === 0 && {
            userId: 'ann', expiresAt: Date.now() + 500
          }
          : true
      })
      const watcher = await open(t, two)
      await open(t, one, 'ann')
      await watcher.until('ann')
      await watcher.until()
      t.equal((await fetch(`${one.url}/api/chats/c/events?user=ann`)).status, 403)
    })

    t.test('users who join in one turn are reported at once, and clients without a name are not counted', async (t) => {
      const { one, two } = await setup(t)
      const watcher = await open(t, two)
      const names = Array.from({ length: 20 }, (_, n) => `user ${n}`).sort()
      await Promise.all(names.map((user) => open(t, one, user)))
      await watcher.until(...names)
      await asked([one, two], names)
      t.same(watcher.reader.faults, [])
      t.ok(watcher.reader.received.length <= names.length + 1)
    })
  })
}

t.test('users of an app that closes stay present until its lease expires, so a move is never reported', async (t) => {
  const { one, two } = await (setups['over Redis'] as Setup)(t, { graceMs: 60_000, leaseMs: 2_000 })
  const watcher = await open(t, two)
  await Promise.all([open(t, one, 'ann'), open(t, one, 'bob')])
  await watcher.until('ann', 'bob')
  await one.app.close()
  t.same(await two.app.chatEvents.presence('c'), ['ann', 'bob'])
  await open(t, two, 'ann')
  await watcher.until('ann')
  t.same(watcher.reader.received.filter(({ left = [] }) => left.length > 0), [{ joined: [], left: ['bob'] }])
})

t.test('other state of a chat does not count as users', async (t) => {
  const { app, url } = await startApp(t, { presence: true, authorize })
  const botMessage = await app.chatEvents.startBotMessage('c')
  const { stream, until } = await open(t, { url }, 'ann')
  await until('ann')
  t.same(await app.chatEvents.presence('c'), ['ann'])
  await botMessage.append('x')
  await botMessage.finish()
  for (;;) if ((await stream.next()).id !== undefined) break
})

t.test('without the option clients get no presence, but the app can still query it', async (t) => {
  const pubsub = new LocalPubSub()
  t.teardown(() => pubsub.close())
  const here = await startApp(t, { pubsub, presence: true, authorize })
  const other = new ChatEvents(pubsub, { log: silentLogger, retryMs: 1 })
  t.teardown(() => other.cleanupChatSubscriptions())
  await open(t, here, 'ann')
  await until(() => other.presence('c'), (users) => users.join() === 'ann')
  const off = await startApp(t, { pubsub, authorize })
  const stream = await EventStream.open(t, `${off.url}/api/chats/c/events?user=bob`)
  await stream.next()
  await off.app.chatEvents.emitChatMessage('c', {})
  t.match(await stream.next(), { event: /^message$/ })
  t.same(await off.app.chatEvents.presence('c'), ['ann'])
})
