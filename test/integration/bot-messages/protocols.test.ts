import t from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import { LocalPubSub, type StateStore } from '../../../lib/index.ts'
import { nothingUnhandled } from '../../support/unhandled.ts'
import { setups } from './setups.ts'
import { instance, say } from './sides.ts'

t.beforeEach(nothingUnhandled)

for (const [name, setup] of Object.entries(setups)) {
  t.test(name, async (t) => {
    t.beforeEach(nothingUnhandled)

    t.test('the active bot message is the newest one in progress with that protocol', async (t) => {
      const { one, two } = await setup(t)
      const active = (): Promise<string | undefined> => two.app.chatEvents.activeBotMessage('c', 'ui-message')
      t.equal(await active(), undefined)
      const options = { format: 'chunks', protocol: 'ui-message' } as const
      const first = await one.app.chatEvents.startBotMessage('c', { id: 'first', ...options })
      const second = await one.app.chatEvents.startBotMessage('c', { id: 'second', ...options })
      await one.app.chatEvents.startBotMessage('c', { id: 'text' })
      t.equal(await active(), 'second')
      await second.finish()
      t.equal(await active(), 'first')
      await first.finish()
      t.equal(await active(), undefined)
    })

    t.test('a bot message can be followed if it has chunks of that protocol, or has ended with chunks', async (t) => {
      const { one, two } = await setup(t)
      const has = async (id: string): Promise<boolean> => await two.app.chatEvents.hasBotMessage('c', id, 'ui-message')
      const { chatEvents } = one.app
      t.equal(await has('none'), false)
      const known = await chatEvents.startBotMessage('c', { id: 'a', format: 'chunks', protocol: 'ui-message' })
      const other = await chatEvents.startBotMessage('c', { id: 'b', format: 'chunks', protocol: 'other' })
      await chatEvents.streamBotMessage('c', say('text'), { id: 'text' })
      t.same(await Promise.all(['a', 'b', 'text'].map(has)), [true, false, false])
      await known.append({ n: 1 })
      const follower = two.app.chatEvents.followBotMessage('c', 'a')
      const contents = follower.contents()
      t.same(await contents.next(), { done: false, value: ',{"n":1}' })
      await Promise.all([known.finish(), other.finish()])
      t.match(await contents.next(), { done: true, value: { id: 'a', status: 'finished' } })
      follower.close()
      t.same(await Promise.all(['a', 'b'].map(has)), [true, true])
    })

    t.test('of those that start in one millisecond, the last one is the newest', async (t) => {
      const { one: { app: { chatEvents } } } = await setup(t)
      const now = Date.now()
      const started = []
      t.intercept(Date, 'now', { value: () => now })
      for (let n = 1; n <= 20; n++) {
        const options = { id: `number ${n}`, format: 'chunks', protocol: 'ui-message' } as const
        started.push(await chatEvents.startBotMessage('c', options))
        t.equal(await chatEvents.activeBotMessage('c', 'ui-message'), options.id)
      }
      await Promise.all(started.map((message) => message.finish()))
    })

    t.test('a bot message that is being opened is waited for', async (t) => {
      const { one } = await setup(t)
      const { chatEvents } = one.app
      const options = { format: 'chunks', protocol: 'ui-message' } as const
      // The first one of an instance waits for more than its opening.
      await chatEvents.startBotMessage('c', { id: 'first', ...options })
      const state = (one.app.pubsub as LocalPubSub).state as StateStore // History is on here.
      const change = state.change.bind(state)
      let open = (): void => {}
      const opened = new Promise<void>((resolve) => { open = resolve })
      state.change = (...args) => opened.then(() => change(...args))
      const starting = ['second', 'other'].map((id) => {
        return chatEvents.startBotMessage(id === 'other' ? 'other' : 'c', { id, ...options })
      })
      const active = chatEvents.activeBotMessage('c', 'ui-message')
      await turn()
      open()
      t.equal(await active, 'second')
      const third = chatEvents.startBotMessage('c', { id: 'third', ...options })
      t.equal(await chatEvents.hasBotMessage('c', 'third', 'ui-message'), true)
      await Promise.all([...starting, third])
    })
  })
}

t.test('without a state of chats, no bot message is active', async (t) => {
  const chatEvents = instance(t, new LocalPubSub({ history: false }))
  await t.rejects(chatEvents.activeBotMessage('c', 'ui-message'), { code: 'RT_STATE_UNAVAILABLE' })
  await t.rejects(chatEvents.hasBotMessage('c', 'a', 'ui-message'), { code: 'RT_STATE_UNAVAILABLE' })
  await t.rejects(chatEvents.hasBotMessage('c', '', 'ui-message'), { code: 'RT_BOT_MESSAGE_ID_INVALID' })
})
