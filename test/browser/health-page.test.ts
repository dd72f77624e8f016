import t from 'tap'
import { launchChromium, skipWithoutChromium } from '../support/chromium.ts'
import { ExampleApp } from '../support/example-app.ts'
import { LoadBalancer } from '../support/load-balancer.ts'
import { startExampleServices } from '../support/example-services.ts'
import { HealthPage } from './health-page.ts'

// Processes and browsers start slowly on a busy machine.
t.setTimeout(180_000)

const QUICK = { BOT_PAUSE_MS: '0' }

const PHONE = { viewport: { width: 375, height: 720 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }

async function say (url: string, text: string): Promise<void> {
  const response = await fetch(`${url}/api/chats/general/messages`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ text, author: 'Ada' })
  })
  await response.body?.cancel()
}

t.test('the health page in a browser', { skip: skipWithoutChromium }, async (t) => {
  const browser = await launchChromium(t)

  t.test('two instances over a Redis', async (t) => {
    const { redis, env } = await startExampleServices(t)
    const start = (INSTANCE_ID: string): Promise<ExampleApp> =>
      ExampleApp.start(t, { env: { ...QUICK, ...env, INSTANCE_ID } })
    const [one, two] = await Promise.all([start('chat-1'), start('chat-2')])
    const health = await HealthPage.open(t, browser, one.url)
    const dark = await HealthPage.open(t, browser, two.url, { colorScheme: 'dark' })

    await t.test('each shows both', async (t) => {
      for (const page of [health, dark]) {
        for (const instance of ['chat-1', 'chat-2']) await page.state(instance, 'OK')
        await page.summary('Both instances are healthy')
      }
      t.ok(await health.card('chat-1').getByText('serves this page').isVisible())
      t.notOk(await health.card('chat-2').getByText('serves this page').isVisible())
      await health.card('chat-2').getByText(/^(\d) of \1 connected$/).waitFor()
    })

    await t.test('their measures change when messages are posted', async () => {
      const stream = await fetch(`${one.url}/api/chats/general/events`)
      t.teardown(() => stream.body?.cancel())
      await dark.shows('chat-1', 'Delivered', /^0\/s$/)
      for (let message = 0; message < 20; message++) await say(two.url, 'echo so')
      // The bot answers each of them. One of the instances publishes the messages of both.
      await Promise.any(['chat-1', 'chat-2'].map((instance) => dark.shows(instance, 'Published', /^[1-9][\d.]*\/s$/)))
      await dark.card('chat-1').locator('.tile', { hasText: 'Delivered' }).getByText(/^peak [1-9]/).waitFor()
      await dark.shows('chat-1', 'Delivery lag', /^[\d.]+ms$/)
      await health.keep('health-light')
      await dark.keep('health-dark')
    })

    await t.test('a killed instance is shown as stopped, and as OK when it is restarted', async () => {
      await two.stop('SIGKILL')
      await health.state('chat-2', 'Stopped')
      await health.summary('chat-2 has stopped')
      await health.state('chat-1', 'OK')
      await health.keep('health-stopped')
      await start('chat-2')
      await health.state('chat-2', 'OK')
      await health.summary('Both instances are healthy')
    })

    await t.test('while Redis is down, the instance that serves the page shows that', async (t) => {
      await redis.kill()
      await health.state('chat-1', 'Down')
      await health.card('chat-1').getByText(/^Redis is not connected: publisher.* subscriber/).waitFor()
      await health.state('chat-2', 'Unknown')
      await health.keep('health-down')
      await redis.restart()
      for (const instance of ['chat-1', 'chat-2']) await health.state(instance, 'OK')
      t.ok((one.output.match(/Publishing failed/g) ?? []).length <= 1, 'its log is not flooded')
    })

    t.strictSame(health.complaints, [])
  })

  t.test('a page behind a load balancer reconnects to another instance', async (t) => {
    const { env } = await startExampleServices(t)
    const apps = await Promise.all(
      ['chat-1', 'chat-2'].map((INSTANCE_ID) =>
        ExampleApp.start(t, { env: { ...QUICK, ...env, INSTANCE_ID } })
      )
    )
    const balancer = await LoadBalancer.start(t)
    for (const { url } of apps) balancer.add(url)
    const health = await HealthPage.open(t, browser, balancer.url)
    await health.summary('Both instances are healthy')
    const server = health.page.getByRole('article').filter({ hasText: 'serves this page' }).getByRole('heading')
    const [left, other] = await server.innerText() === 'chat-1' ? ['chat-1', 'chat-2'] : ['chat-2', 'chat-1']
    await apps[left === 'chat-1' ? 0 : 1]?.stop('SIGKILL')
    await health.card(other).getByText('serves this page').waitFor()
    await health.state(left, 'Stopped')
    await health.state(other, 'OK')
  })

  t.test('one process without Redis, on a phone', async (t) => {
    const app = await ExampleApp.start(t, {
      env: { ...QUICK, INSTANCE_ID: 'an-instance-with-a-name-as-long-as-those-of-pods-5d9c7b6f4-x2x7k' }
    })
    const health = await HealthPage.open(t, browser, app.url, PHONE)
    await health.summary('The instance is healthy')
    await health.shows('an-instance-with', 'Streams', /^1$/)
    await health.page.getByText('not used').waitFor()
    t.equal(await health.overflow(), 0)
    await health.keep('health-phone')
    await health.page.setViewportSize({ width: 1280, height: 800 })
    const [list, card] = await Promise.all([health.page.locator('#instances'), health.card('an-instance-with')]
      .map((locator) => locator.boundingBox()))
    t.equal(card?.width, list?.width, 'the only instance fills the width')
    t.equal(await health.dots(), '', 'a point alone is not drawn')
    t.strictSame(await health.statuses({ lastReportAt: 3_000, at: [4_000, 5_000] }), ['ok', 'stopped'])
    await health.page.setViewportSize({ width: 320, height: 480 })
    t.equal(await health.overflow(), 0, 'also the smallest')

    await health.page.keyboard.press('Tab')
    t.equal(await health.page.locator(':focus').innerText(), '← Back to the chat')
    await health.page.keyboard.press('Enter')
    await health.page.getByRole('dialog').waitFor()
    t.strictSame(health.complaints, [])
  })
})
