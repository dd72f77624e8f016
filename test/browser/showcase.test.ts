import t, { type Test } from 'tap'
import { launchChromium, skipWithoutChromium } from '../support/chromium.ts'
import { ExampleApp } from '../support/example-app.ts'
import { LoadBalancer } from '../support/load-balancer.ts'
import { startExampleServices } from '../support/example-services.ts'
import { ChatPage } from './chat-page.ts'

// Processes and browsers start slowly on a busy machine.
t.setTimeout(300_000)

const QUICK = { BOT_PAUSE_MS: '50', BOT_WORD_MS: '60' }

const PHONE = { viewport: { width: 375, height: 720 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }

t.test('the chat shows what fastify-realtime does', { skip: skipWithoutChromium }, async (t) => {
  const browser = await launchChromium(t)
  const services = await startExampleServices(t)

  const start = (t: Test, INSTANCE_ID: string, env = {}): Promise<ExampleApp> =>
    ExampleApp.start(t, { env: { ...QUICK, ...services.env, INSTANCE_ID, ...env } })
  const open = (t: Test, { url }: { url: string }, name: string, options = {}): Promise<ChatPage> =>
    ChatPage.open(t, browser, url, name, options)
  // Most tests share these instances. Those that end one start their own.
  const [one, two] = await Promise.all([start(t, 'chat-1'), start(t, 'chat-2')])

  await t.test('a bot message grows word by word on two instances, and is stopped from the other one', async (t) => {
    const [one, two] = await Promise.all([start(t, 'chat-3'), start(t, 'chat-4')])
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
      await lin.say('search for lease')
      await ada.page.locator('.streaming .reasoning').filter({ hasText: 'The question is about' }).waitFor()
      await two.stop('SIGKILL')
      await ada.page.getByText('Interrupted. The instance that was writing this has stopped.').nth(1).waitFor()
      await ada.page.locator('.message[data-outcome="interrupted"] .reasoning').waitFor()
      await ada.keep('fates-light')
    })
    t.strictSame(ada.complaints, [])
  })

  await t.test('the answer of a model shows its reasoning, a tool call and Markdown', async (t) => {
    const [ada, lin] = await Promise.all([
      open(t, one, 'Ada'), open(t, two, 'Lin', { ...PHONE, colorScheme: 'dark' })
    ])
    const each = (see: (chat: ChatPage) => Promise<unknown>): Promise<unknown> => Promise.all([ada, lin].map(see))
    const keep = (name: string): Promise<unknown> => Promise.all([ada.keep(`${name}-light`), lin.keep(`${name}-phone`)])

    await each((chat) => chat.enter('Support'))
    await ada.say('search for lease')
    await each((chat) => chat.streaming.locator('.reasoning.active').getByText('The question is about').waitFor())
    await keep('thinking')
    await each((chat) => chat.streaming.locator('.tool-call[data-state="running"]').getByText('"lease"').waitFor())
    await keep('tool-running')

    await t.test('and is the same in a window that was reloaded in the middle of it', async (t) => {
      await lin.page.reload()
      await lin.state('Live')
      const text = /Where (they|the first 5) are/
      const [shown, again] = await Promise.all([ada, lin].map((chat) => chat.finalAnswer(text)))
      t.equal(again, shown)
      await keep('answered')
    })

    for (const { lastAnswer } of [ada, lin]) {
      await lastAnswer.getByText(/^Thought for \d+ s$/).click()
      await lastAnswer.getByText('I should not answer from memory').waitFor()
      await lastAnswer.locator('summary').filter({ hasText: /^searchDocs“lease”, 5Done$/ }).click()
      await lastAnswer.locator('pre').filter({ hasText: /"query": "lease"/ }).waitFor()
      await lastAnswer.locator('pre').filter({ hasText: /"matches": \[/ }).waitFor()
      await lastAnswer.locator('.bubble blockquote').waitFor()
      await lastAnswer.locator('.bubble td').first().waitFor()
    }
    await keep('answer-open')

    await t.test('a stop leaves what was shown, without a result', async () => {
      await ada.say('search for cursor')
      await each((chat) => chat.streaming.locator('.tool-call[data-state="running"]').waitFor())
      await lin.page.getByRole('button', { name: 'Stop', exact: true }).click()
      await each((chat) => chat.page.getByText('Stopped by a reader.').waitFor())
      await each((chat) => chat.lastAnswer.locator('summary').getByText('No result').waitFor())
      await keep('answer-stopped')
    })

    await t.test('a tool that fails, and then the model, show why', async () => {
      await ada.say('break a tool')
      await each((chat) => chat.page.getByText('Failed. The language model stopped responding. Ask again.').waitFor())
      await each((chat) => chat.lastAnswer.getByText('The index is locked. This error was requested.').waitFor())
      await keep('answer-failed')
    })

    await t.test('hostile markup in it does nothing', async (t) => {
      const markup = '<img src=x onerror="alert(1)"><script>alert(2)</script>[click](javascript:alert(3))'
      await ada.say(`search for ${markup}`)
      await each((chat) => chat.finalAnswer('Nothing in the documentation'))
      for (const { log, lastAnswer } of [ada, lin]) {
        t.equal(await log.locator('img, script, a').count(), 0)
        for (const part of ['.reasoning-text', '.tool-brief', '.bubble']) {
          t.ok((await lastAnswer.locator(part).textContent())?.includes(markup), part)
        }
      }
    })
    t.equal(await lin.overflow(), 0)
    t.strictSame([...ada.complaints, ...lin.complaints], [])
  })

  await t.test('a long answer arrives whole, and each piece renders only the last block again', async (t) => {
    const [ada, lin] = await Promise.all([open(t, one, 'Ada'), open(t, one, 'Lin')])
    await Promise.all([ada, lin].map((chat) => chat.enter('Random')))
    await ada.countRendering()
    await ada.say('read the manual')
    // An instance keeps content up to 64 kB for new readers. They fetch a longer one.
    await lin.readsBlocks(200)
    await lin.page.reload()
    await lin.state('Live')
    await lin.readsBlocks(200)
    await lin.scrollUp()
    await lin.page.getByRole('button', { name: 'New messages' }).waitFor()
    const finals = await Promise.all([ada, lin].map((chat) => chat.finalAnswer('The source of this chat')))
    const [shown, again] = finals as [string, string]
    t.equal(again, shown)
    t.ok(await ada.belowEnd() < 2, 'the end stays in view')
    t.ok(await lin.belowEnd() > 10_000, 'unless the reader has scrolled up')

    const { text, html } = await ada.answerOnServer('random')
    t.ok(text.length > 250_000)
    t.ok(shown.endsWith(`${html}</div>`), 'what has grown is what is rendered at once')
    const { parses, characters, blocks } = await ada.rendering()
    t.ok(parses > 20, `${parses} pieces`)
    t.ok(characters < text.length + parses * 20_000, `${characters} of ${text.length} characters in ${parses} pieces`)
    const count = await ada.lastAnswer.locator('.bubble > *').count()
    t.ok(count > 500 && blocks < count + parses * 2, `${blocks} of ${count} blocks in ${parses} pieces`)
    await lin.page.reload()
    await lin.state('Live')
    t.equal(await lin.lastAnswer.innerHTML(), shown, 'it is still there after a reload')
    t.strictSame([...ada.complaints, ...lin.complaints], [])
  })

  await t.test('presence and typing', async (t) => {
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
    for (const app of [one, two]) balancer.add(app.url)
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
    t.equal(await ada.page.getByText('Reloaded from the database').count(), 0)

    await t.test('a page that has lost its position loads the messages from the database', async (t) => {
      await ada.cause('Lose my position')
      await ada.notice('Reloaded from the database: nothing is missing.')
      await ada.notice('The server does not know the position that this page asked for.')
      await ada.keep('reset-light')
      await lin.say('echo after')
      await ada.hears('after')
      for (const text of ['echo before', 'before', 'echo one', 'one', 'echo two', 'two', 'echo after', 'after']) {
        t.equal(await ada.message(text).count(), 1, text)
      }
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
    const chat = await open(t, one, 'Grace Hopper', { ...PHONE, colorScheme: 'dark' })
    await open(t, one, 'Lin')
    await chat.enter('Dev team')
    await chat.say('tell me about answers')
    await chat.reads(200)
    t.equal(await chat.overflow(), 0)
    await chat.keep('phone-streaming-dark')
    await chat.cause('Lose my position')
    await chat.notice('Reloaded from the database')
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
