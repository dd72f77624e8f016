import t from 'tap'
import { launchChromium, skipWithoutChromium } from '../support/chromium.ts'
import { ExampleApp } from '../support/example-app.ts'
import { exampleData } from '../support/example-database.ts'
import { openPool, PostgresServer } from '../support/postgres.ts'
import { RedisServer } from '../support/redis-server.ts'
import { ChatPage } from './chat-page.ts'

// Processes and browsers start slowly on a busy machine.
t.setTimeout(180_000)

const QUICK = { BOT_PAUSE_MS: '50' }

t.test('outages, as a user of the chat sees them', { skip: skipWithoutChromium }, async (t) => {
  const browser = await launchChromium(t)

  t.test('an instance crashes and is restarted', async (t) => {
    const env = { ...QUICK, DATA_DIR: await exampleData(t) }
    const app = await ExampleApp.start(t, { env })
    const chat = await ChatPage.open(t, browser, app.url, 'Ada')
    const toss = chat.page.getByText(/^(Heads|Tails)\.$/)
    await chat.say('flip')
    await chat.hasSent('flip')
    await toss.waitFor()
    await app.stop('SIGKILL')
    await chat.state('Reconnecting…')
    await chat.say('Is anybody there?')
    await chat.page.getByText('Not confirmed. The server is unreachable.').waitFor()
    await chat.keep('desktop-not-sent')
    t.equal(await chat.composer.inputValue(), '')

    await ExampleApp.start(t, { port: app.port, env })
    await chat.state('Live')
    await chat.notice(/^Reloaded from the database: .* The room has a new log, for example because the server was /)
    await chat.keep('desktop-reset')
    t.equal(await chat.message('flip').count(), 1, 'the database has it')
    t.equal(await toss.count(), 1)
    await chat.page.getByRole('button', { name: 'Retry' }).click()
    await chat.hasSent('Is anybody there?')
    await chat.hears('I read 3 words and 17 characters, but I only understand simple things. Say “help” for a list.')
    t.equal(await chat.page.getByRole('button', { name: 'Retry' }).count(), 0)
  })

  t.test('Redis is killed and restarted', async (t) => {
    const redis = await RedisServer.start()
    t.teardown(() => redis.stop())
    const app = await ExampleApp.start(t, { env: { ...QUICK, REDIS_URL: redis.url } })
    const chat = await ChatPage.open(t, browser, app.url, 'Ada')
    await redis.kill()
    await chat.say('2 + 2')
    await chat.page.getByText('Stored. Delivered as soon as the server reaches Redis.').waitFor()
    await chat.keep('desktop-stored')
    await chat.page.reload()
    await chat.page.getByText('Stored. Delivered as soon as the server reaches Redis.').waitFor()
    await redis.restart()
    await chat.hasSent('2 + 2')
    await chat.hears('= 4')
    for (const text of ['2 + 2', '= 4']) t.equal(await chat.message(text).count(), 1, text)
  })

  t.test('a bot message is stored late', { skip: PostgresServer.skip }, async (t) => {
    const { url } = await PostgresServer.start(t)
    const app = await ExampleApp.start(t, { env: { ...QUICK, BOT_WORD_MS: '0', DATABASE_URL: url } })
    const database = openPool(t, url)
    await database.query(`CREATE FUNCTION later () RETURNS trigger LANGUAGE plpgsql
      AS $$ BEGIN RAISE EXCEPTION 'not yet' USING ERRCODE = 'cannot_connect_now'; END $$`)
    await database.query(`CREATE TRIGGER later BEFORE INSERT ON messages FOR EACH ROW
      WHEN (new.message->>'text' LIKE 'Once there was%') EXECUTE FUNCTION later()`)
    const chat = await ChatPage.open(t, browser, app.url, 'Ada')
    await chat.say('tell me a story')
    await chat.streaming.getByText('Saving…').waitFor()
    await chat.say('2 + 2')
    await chat.hears('= 4')
    await database.query('DROP TRIGGER later ON messages')
    await chat.streaming.waitFor({ state: 'detached' })
    const rows = chat.log.locator('.message .bubble')
    const texts = await rows.allInnerTexts()
    t.match(texts, ['tell me a story', '2 + 2', '= 4', /^Once there was/])
    await chat.page.reload()
    await rows.nth(3).waitFor()
    t.strictSame(await rows.allInnerTexts(), texts, 'a reload changes no order')
  })
})
