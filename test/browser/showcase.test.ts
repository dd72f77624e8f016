import t, { type Test } from 'tap'
import { launchChromium, skipWithoutChromium } from '../support/chromium.ts'
import { ExampleApp } from '../support/example-app.ts'
import { LoadBalancer } from '../support/load-balancer.ts'
import { RedisServer } from '../support/redis-server.ts'
import { ChatPage } from './chat-page.ts'

// Processes and browsers start slowly on a busy machine.
t.setTimeout(240_000)

const QUICK = { BOT_PAUSE_MS: '50', BOT_WORD_MS: '60' }

const PHONE = { viewport: { width: 375, height: 720 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }

t.test('the chat shows what fastify-realtime does', { skip: skipWithoutChromium }, async (t) => {
  const browser = await launchChromium(t)
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())

  const start = (t: Test, INSTANCE_ID: string, env = {}): Promise<ExampleApp> =>
    ExampleApp.start(t, { env: { ...QUICK, INSTANCE_ID, REDIS_URL: redis.url, ...env } })
  const open = (t: Test, { url }: { url: string }, name: string, options = {}): Promise<ChatPage> =>
    ChatPage.open(t, browser, url, name, options)

  await t.test('a bot message grows word by word on two instances, and is stopped from the other one', async (t) => {
    const [one, two] = await Promise.all([start(t, 'chat-1'), start(t, 'chat-2')])
    const [ada, lin] = await Promise.all([open(t, one, 'Ada'), open(t, two, 'Lin', { colorScheme: 'dark' })])
    await ada.say('tell me a story')
    const [early] = await Promise.all([lin.reads(20), ada.reads(20)])
    t.match(early, /^Once there was/)
    t.equal(await lin.streaming.getAttribute('aria-busy'), 'true')
    t.equal(
      await lin.page.locator('.bot-messages').getAttribute('aria-live'),
      'off',
      'screen readers do not read each word'
    )
    t.ok((await lin.reads(early.length + 20)).startsWith(early))

    await t.test('a reload in the middle of it continues with the text', async (t) => {
      const before = await lin.reads(100)
      await lin.page.reload()
      await lin.state('Live')
      t.ok((await lin.reads(before.length)).startsWith(before))
    })

    await lin.reads(300)
    await Promise.all([ada.keep('streaming-light'), lin.keep('streaming-dark')])
    await lin.page.getByRole('button', { name: 'Stop', exact: true }).press('Enter')
    for (const chat of [ada, lin]) {
      await chat.page.getByText('Stopped by a reader.').waitFor()
      t.equal(await chat.streaming.count(), 0)
      t.equal(await chat.page.locator('.message.bot:not(.thinking)').count(), 1, 'the log has it once')
    }
    t.equal(await lin.page.locator(':focus').getAttribute('role'), 'log', 'the keyboard focus stays in the log')
    await lin.keep('stopped-dark')

    await t.test('one that fails, and one whose instance crashes, end for all readers', async () => {
      await lin.say('break')
      await ada.page.getByText('Failed. The language model stopped responding. Ask again.').waitFor()
      await lin.say('tell me about resuming')
      await ada.reads(40)
      await two.stop('SIGKILL')
      await ada.page.getByText('Interrupted. The instance that was writing this has stopped.').waitFor()
      await ada.keep('fates-light')
    })
    t.strictSame(ada.complaints, [])
  })

  await t.test('presence and typing', async (t) => {
    const [one, two] = await Promise.all([start(t, 'chat-1'), start(t, 'chat-2')])
    const [ada, lin, again] = await Promise.all([open(t, one, 'Ada'), open(t, two, 'Lin'), open(t, two, 'Ada')])
    const count = (chat: ChatPage, text: string): Promise<void> =>
      chat.page.getByRole('button', { name: 'Who is here' }).filter({ hasText: text }).waitFor()
    await Promise.all([ada, lin, again].map((chat) => count(chat, '2 here')))
    await ada.page.getByRole('button', { name: 'Who is here' }).click()
    const dialog = ada.page.getByRole('dialog', { name: 'Who is here' })
    t.strictSame(
      await dialog.getByRole('listitem').locator('.person-name').allInnerTexts(),
      ['Ada', 'Lin'],
      'the user is first, and counts once'
    )
    await ada.keep('people-light')
    await ada.page.keyboard.press('Escape')

    await lin.type('Has anybody seen')
    await ada.page.getByText('Lin is typing…').waitFor()
    t.equal(await lin.page.getByText('typing…').count(), 0, 'not the user who types')
    const joe = await open(t, one, 'Joe')
    await joe.type('I')
    await ada.page.getByText('Lin and Joe are typing…').waitFor()
    await count(ada, '3 here')
    await ada.keep('typing-light')
    await lin.say('Has anybody seen my keys?')
    await ada.hears('Has anybody seen my keys?')
    await ada.page.getByText('Joe is typing…', { exact: true }).waitFor()
    await joe.page.context().close()
    await ada.page.getByText('typing…').waitFor({ state: 'hidden' })
    await count(ada, '2 here')
    t.strictSame([...ada.complaints, ...lin.complaints], [])
  })

  await t.test('a page reconnects and gets what it missed, each message once', async (t) => {
    const balancer = await LoadBalancer.start(t)
    for (const app of await Promise.all([start(t, 'chat-1'), start(t, 'chat-2')])) balancer.add(app.url)
    const [ada, lin] = await Promise.all([open(t, balancer, 'Ada'), open(t, balancer, 'Lin')])
    await lin.say('echo before')
    await ada.hears('before')
    await ada.page.getByRole('button', { name: 'Outages to try' }).click()
    await ada.keep('outages-light')
    await ada.page.keyboard.press('Escape')
    await ada.cause('Drop the connection')
    await ada.state('Reconnecting…')
    await ada.keep('dropped-light')
    for (const text of ['echo one', 'echo two']) {
      await lin.say(text)
      await lin.hears(text.slice(5))
    }
    await ada.notice(/Resumed on chat-\d: nothing missed, 4 messages caught up/)
    await ada.state('Live')
    await ada.keep('resumed-light')
    for (const text of ['echo before', 'before', 'echo one', 'one', 'echo two', 'two']) {
      t.equal(await ada.message(text).count(), 1, text)
    }
    t.equal(await ada.page.locator('.gap').count(), 0)

    await t.test('a page that has lost its position shows that messages may be missing', async (t) => {
      await ada.cause('Lose my position')
      await ada.page.getByText(/^Messages sent (around|between) .* may be missing here$/).waitFor()
      await ada.page.getByText('The server does not know the position that this page asked for.').waitFor()
      t.equal(await ada.page.getByText('nothing missed').count(), 0, 'the notice of the reconnect is removed')
      await ada.keep('reset-light')
      await lin.say('echo after')
      await ada.hears('after')
      t.equal(await ada.message('after').count(), 1)
    })
    t.strictSame([...ada.complaints, ...lin.complaints], [])
  })

  await t.test('when the page stops its instance, it reconnects to another one', async (t) => {
    const balancer = await LoadBalancer.start(t)
    // They are not restarted here, so one is left.
    for (const app of await Promise.all(['chat-1', 'chat-2'].map((name) => start(t, name, { RESTARTS: '1' })))) {
      balancer.add(app.url)
    }
    const [ada, lin] = await Promise.all([open(t, balancer, 'Ada'), open(t, balancer, 'Lin', PHONE)])
    await lin.say('echo still here')
    await ada.hears('still here')
    const before = await ada.instance()
    await ada.cause('Stop the instance')
    await ada.notice(/Resumed on chat-\d: nothing missed/)
    t.not(await ada.instance(), before)
    await ada.keep('stopped-instance-light')
    await ada.say('echo on we go')
    await lin.hears('on we go')
    await lin.keep('phone-light')
    for (const text of ['still here', 'on we go']) t.equal(await ada.message(text).count(), 1, text)
  })

  await t.test('it fits a phone', async (t) => {
    const app = await start(t, 'chat-1')
    const chat = await open(t, app, 'Grace Hopper', { ...PHONE, colorScheme: 'dark' })
    await open(t, app, 'Lin')
    await chat.enter('Dev team')
    await chat.say('tell me about answers')
    await chat.reads(200)
    t.equal(await chat.overflow(), 0)
    await chat.keep('phone-streaming-dark')
    await chat.cause('Lose my position')
    await chat.page.locator('.gap').first().waitFor()
    await chat.state('Live')
    await chat.reads(200)
    await chat.page.getByRole('button', { name: 'Outages to try' }).click()
    t.equal(await chat.overflow(), 0)
    await chat.keep('phone-outages-dark')
    await chat.page.keyboard.press('Escape')
    await chat.page.getByRole('button', { name: 'Stop', exact: true }).click()
    await chat.page.getByText('Stopped by a reader.').waitFor()
    await chat.page.setViewportSize({ width: 320, height: 480 })
    t.equal(await chat.overflow(), 0, 'also the smallest')
    await chat.keep('phone-small-dark')
    t.strictSame(chat.complaints, [])
  })
})
