import t, { type Test } from 'tap'
import { say } from '../integration/example-app/app.ts'
import { launchChromium, skipWithoutChromium } from '../support/chromium.ts'
import { ExampleApp } from '../support/example-app.ts'
import { startExampleServices } from '../support/example-services.ts'
import { ChatPage } from './chat-page.ts'

// Processes and browsers start slowly on a busy machine.
t.setTimeout(180_000)

const QUICK = { BOT_PAUSE_MS: '50' }

const PHONE = { viewport: { width: 375, height: 720 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }

t.test('the chat in a browser', { skip: skipWithoutChromium }, async (t) => {
  const browser = await launchChromium(t)

  const open = (t: Test, { url }: ExampleApp, name: string, options = {}): Promise<ChatPage> =>
    ChatPage.open(t, browser, url, name, options)

  t.test('users on two instances see each other and the bot', async (t) => {
    const { env } = await startExampleServices(t)
    const [one, two] = (await Promise.all(
      ['chat-1', 'chat-2'].map((INSTANCE_ID) =>
        ExampleApp.start(t, { env: { ...QUICK, ...env, INSTANCE_ID } })
      )
    )) as [ExampleApp, ExampleApp]
    const [ada, lin] = await Promise.all([open(t, one, 'Ada Lovelace'), open(t, two, 'Lin', { colorScheme: 'dark' })])
    await ada.page.getByText('chat-1', { exact: true }).waitFor()
    await lin.page.getByText('chat-2', { exact: true }).waitFor()

    await ada.say('Good morning! Is the new build on all instances?')
    await lin.hears('Good morning! Is the new build on all instances?')
    await lin.say('12 * (3 + 4)')
    await ada.hears('12 * (3 + 4)')
    for (const page of [ada, lin]) await page.hears('= 84')
    await ada.hasSent('Good morning! Is the new build on all instances?')
    await lin.hasSent('12 * (3 + 4)')
    t.equal(
      await lin.page.locator('.message').filter({ hasText: '12 * (3 + 4)' }).count(),
      1,
      'a user’s own message is shown once'
    )
    await ada.keep('desktop-light')
    await lin.keep('desktop-dark')
    t.strictSame([...ada.complaints, ...lin.complaints], [])
  })

  t.test('one process without Redis', async (t) => {
    const app = await ExampleApp.start(t, { env: { BOT_PAUSE_MS: '300' } })
    const chat = await open(t, app, 'Ada')

    await t.test('an empty room suggests messages', async () => {
      await chat.page.getByRole('heading', { name: 'No messages yet' }).waitFor()
      await chat.keep('desktop-empty')
      await chat.page.getByRole('button', { name: 'roll 2d6' }).click()
      await chat.hasSent('roll 2d6')
      await chat.page.getByText('Robo is thinking…').waitFor({ state: 'attached' })
      await chat.page.getByText(/🎲 \d \+ \d = \d+/).waitFor()
      await chat.page.getByText('Robo is thinking…').waitFor({ state: 'hidden' })
    })

    await t.test('markup is shown as it was written', async (t) => {
      const text = '<img src=x onerror="alert(1)"><script>alert(2)</script><b>bold</b>'
      await chat.say(`echo ${text}`)
      await chat.hasSent(`echo ${text}`)
      await chat.hears(text)
      t.equal(await chat.log.locator('img, script, b').count(), 0)
    })

    await t.test('the Markdown of the bot is rendered, and hostile markup does nothing', async (t) => {
      const markdown = [
        '**bold** and `code`',
        '<img src=x onerror="alert(1)"> <script>alert(2)</script>',
        '[click](javascript:alert(3)) [site](https://site.example/) ![pixel](https://site.example/pixel.png)',
        '```\n<b>open fence'
      ]
      await chat.say(`echo ${markdown.join('\n\n')}`)
      const bubble = chat.page.locator('.message.bot .bubble').filter({ has: chat.page.locator('strong') }).last()
      await bubble.locator('pre').filter({ hasText: '<b>open fence' }).waitFor()
      t.equal(await bubble.locator('strong').innerText(), 'bold')
      t.equal(await bubble.locator('img, script, b').count(), 0)
      await bubble.getByText('[click](javascript:alert(3))').waitFor()
      t.equal(await bubble.locator('a[href="https://site.example/"][rel*="noopener"]').count(), 1)
      t.equal(await bubble.locator('a').count(), 2, 'an image is shown as a link')
      await chat.keep('markdown-light')
    })

    await t.test('Markdown that grows changes only its last blocks', async (t) => {
      const [bold, fence, list, sameBlock, shorter] = await chat.grow([
        'one **bo', 'one **bold**\n\n```\nlet', 'one **bold**\n\n```\nlet x\n```\n\n- item `co', 'one'
      ])
      t.equal(bold, '<p>one <strong>bo</strong></p>', 'an open mark is closed')
      t.match(fence, /<pre><code>let\s*<\/code><\/pre>$/, 'an open fence reaches to the end')
      t.match(list, /<pre><code>let x\s*<\/code><\/pre><ul>\s*<li>item <code>co<\/code><\/li>\s*<\/ul>$/)
      t.equal(sameBlock, 'same block')
      t.equal(shorter, '<p>one</p>')
      const [, used, defined, , whole] = await chat.grow([
        'one', '[site]\r\n\r\ntwo', '[site]\r\n\r\ntwo\r\n\r\n[site]: https://site.example/',
        '[site]\n\ntwo\n\n[site]: https://site.example/'
      ])
      t.match([used, defined], ['<p>[site]</p><p>two</p>', '<p>[site]</p><p>two</p>'])
      t.match(whole, /^<p><a href="https:\/\/site.example\/".*>site<\/a><\/p><p>two<\/p>$/, 'defined after its use')
    })

    await t.test('a long code block that grows changes only its last lines', async (t) => {
      const lines = (count: number): string => Array.from({ length: count }, (_, n) => `line ${n}`).join('\n')
      const [short = '', long = '', , sameBlock, ended = ''] = await chat.grow([
        `\`\`\`\n${lines(40)}`, `\`\`\`\n${lines(41)}`, `\`\`\`\n${lines(100)}`, `\`\`\`\n${lines(100)}\n\`\`\``
      ])
      t.equal(short.replace(/\n(?=<)/, ''), `<pre><code>${lines(40)}</code></pre>`)
      t.equal(long.match(/class="lines"/g)?.length, 2)
      t.equal(sameBlock, 'same block')
      t.equal(ended.replaceAll(/<[^>]*>/g, ''), `${lines(100)}\n`)
    })

    await t.test('chunks become parts, and hostile markup in them does nothing', async (t) => {
      const markup = '<img src=x onerror="alert(1)"><script>alert(2)</script>'
      const [growing, ended] = await chat.showChunks([
        { type: 'start' },
        { type: 'reasoning-start', id: '0' },
        { type: 'reasoning-delta', id: '0', delta: markup },
        { type: 'reasoning-end', id: '0' },
        { type: 'data-of-a-later-version', id: '0', delta: markup },
        { type: 'tool-input-start', toolCallId: 'a', toolName: markup },
        { type: 'tool-input-delta', toolCallId: 'a', inputTextDelta: markup },
        { type: 'tool-input-available', toolCallId: 'b', toolName: 'whole', input: { markup } },
        { type: 'tool-output-available', toolCallId: 'b', output: { markup } },
        { type: 'tool-input-available', toolCallId: 'c', toolName: 'broken', input: markup },
        { type: 'tool-output-error', toolCallId: 'c', errorText: markup },
        { type: 'text-start', id: '0' },
        { type: 'text-delta', id: '0', delta: `**bold** ${markup}` }
      ])
      for (const html of [growing, ended]) {
        t.notMatch(html, /<(img|script)/)
        t.equal(html.match(/&lt;img/g)?.length, 9)
        t.match(html, /<strong>bold<\/strong>/)
      }
      const states = (html: string): unknown[] => [...html.matchAll(/data-state="(\w+)"/g)].map(([, state]) => state)
      t.strictSame(states(growing), ['input', 'done', 'failed'])
      t.strictSame(states(ended), ['cut', 'done', 'failed'])
    })

    await t.test('a notice says why the messages were loaded from the database', async (t) => {
      t.match(await chat.notices([
        'showResumption({ caughtUp: 1 })',
        "showResumption({ caughtUp: 1, reset: 'trimmed' })",
        "showReload('epoch')",
        "showReload('of-a-later-version')"
      ]), [
        /^Resumed on .*: nothing missed, 1 message caught up$/,
        /^Reloaded from the database: 1 message caught up. The log no longer reaches back to /,
        /^Reloaded from the database: nothing is missing. The room has a new log, /,
        /^Reloaded from the database: nothing is missing. Reason: of-a-later-version.$/
      ])
    })

    await t.test('messages of another window of the same user are on the same side', async (t) => {
      const again = await open(t, app, 'Ada')
      await again.say('count my windows')
      await chat.hasSent('count my windows')
      // Otherwise the answer could count as unread in the next test.
      await chat.hears('That is 2 words and 10 characters.')
    })

    await t.test('other rooms count unread messages, and each room keeps its messages', async (t) => {
      await chat.enter('Random')
      await chat.page.getByRole('heading', { name: 'No messages yet' }).waitFor()
      await chat.composer.fill('half a')
      const other = await open(t, app, 'Lin')
      await other.say('flip')
      await chat.page.getByRole('link', { name: /General 2 unread/ }).waitFor()
      t.match(await chat.page.title(), /^\(2\) /)
      await chat.enter('General')
      await chat.hasSent('roll 2d6')
      t.equal(await chat.page.getByRole('link', { name: 'unread' }).count(), 0)
      await chat.page.getByText('flip', { exact: true }).last().waitFor()
      t.equal(await chat.page.getByText('Reloaded from the database').count(), 0)
      await chat.enter('Random')
      t.equal(await chat.composer.inputValue(), 'half a')
      await chat.enter('General')
    })

    await t.test('a reload keeps the name and the messages', async () => {
      await chat.page.reload()
      await chat.state('Live')
      await chat.hasSent('roll 2d6')
      await chat.say('hello')
      await chat.hears('Hello Ada! Say “help” to see what I can do.')
    })

    await t.test('a reader who scrolls up gets earlier messages, and stays at those in view', async (t) => {
      const rows = chat.page.locator('#messages .message')
      await chat.enter('Support')
      for (let number = 1; number <= 40; number++) await say(app, 'support', `echo ${number}`)
      await rows.nth(79).waitFor()
      await chat.page.reload()
      await rows.nth(49).waitFor()
      t.equal(await rows.count(), 50, 'the page begins with the newest')
      const before = await chat.scrollUp()
      await rows.nth(79).waitFor()
      t.equal(await rows.count(), 80, 'each is shown once')
      t.ok(Math.abs(await chat.bottomOf(rows.nth(30)) - before) < 2)
      await chat.keep('desktop-earlier')
      await chat.scrollUp()
      t.equal(await rows.count(), 80, 'there are no more')
    })

    t.strictSame(chat.complaints, [])
  })

  t.test('the chat needs no mouse', async (t) => {
    const app = await ExampleApp.start(t, { env: QUICK })
    const context = await browser.newContext()
    t.teardown(() => context.close())
    const page = await context.newPage()
    const { keyboard } = page
    const focused = page.locator(':focus')
    await page.goto(app.url)
    await page.getByRole('dialog').waitFor()
    await keyboard.type('Grace')
    await keyboard.press('Enter')
    await page.getByRole('status').filter({ hasText: 'Live' }).waitFor()

    t.equal(await focused.getAttribute('id'), 'text', 'the composer has the focus')
    await keyboard.type('count one')
    await keyboard.press('Shift+Enter')
    await keyboard.type('two')
    await keyboard.press('Enter')
    await page.getByText('That is 2 words and 7 characters.').waitFor()

    await keyboard.press('Shift+Tab')
    t.equal(await focused.getAttribute('role'), 'log', 'the log can be scrolled by keys')
    await keyboard.press('Shift+Tab')
    t.equal(await focused.getAttribute('href'), '/health.html')
    for (const menu of ['Outages to try', 'Who is here']) {
      await keyboard.press('Shift+Tab')
      await keyboard.press('Enter')
      await page.getByRole('dialog', { name: menu }).waitFor()
      await keyboard.press('Escape')
      await page.getByRole('dialog').waitFor({ state: 'hidden' })
    }
    await keyboard.press('Shift+Tab')
    t.match(await focused.innerText(), /Grace/)
    await keyboard.press('Enter')
    await page.getByRole('dialog').waitFor()
    await keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'hidden' })

    await page.getByRole('link', { name: 'Support' }).focus()
    await keyboard.press('Enter')
    await page.getByRole('heading', { level: 1, name: 'Support' }).waitFor()
    await keyboard.type('flip')
    await keyboard.press('Enter')
    await page.getByText(/^(Heads|Tails)\.$/).waitFor()
    await page.goBack()
    await page.getByRole('heading', { level: 1, name: 'General' }).waitFor()
    await page.getByText('That is 2 words and 7 characters.').waitFor()
  })

  t.test('it fits a phone', async (t) => {
    const app = await ExampleApp.start(t, { env: QUICK })
    const chat = await open(t, app, 'Grace Hopper', PHONE)
    await chat.keep('phone-empty')
    await chat.say(`echo ${'endless'.repeat(40)}`)
    await chat.hears('endless'.repeat(40))
    await chat.say('help')
    await chat.page.getByText('Here is what I can do').waitFor()
    t.equal(await chat.overflow(), 0)
    const tabs = chat.page.getByRole('navigation')
    t.match(await tabs.getAttribute('class'), 'more-after', 'an arrow shows that there are more tabs')
    await chat.enter('Dev team')
    const title = await chat.page.getByRole('heading', { level: 1, name: 'Dev team' }).boundingBox()
    t.ok(title !== null && title.width > 40, 'the room has a title')
    await chat.page.locator('.more-before').waitFor()
    await chat.enter('General')
    await chat.keep('phone')
    await chat.page.setViewportSize({ width: 320, height: 480 })
    t.equal(await chat.overflow(), 0, 'also the smallest')
    t.ok(await chat.composer.isVisible())
    await chat.page.getByRole('button', { name: 'Change your name' }).click()
    await chat.page.getByRole('textbox', { name: 'Your name' }).fill('Rear Admiral Grace Hopper of the Navy')
    await chat.page.getByRole('button', { name: 'Save' }).click()
    t.equal(await chat.overflow(), 0)
    t.strictSame(chat.complaints, [])
  })
})
