import t from 'tap'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createOutbox, type Listen, type Outbox, type Query } from '../../../lib/outbox/index.ts'
import { ExampleApp } from '../../support/example-app.ts'
import { exampleData } from '../../support/example-database.ts'
import { startExampleServices } from '../../support/example-services.ts'
import { closesFailedListener, openPool, PostgresServer } from '../../support/postgres.ts'
import { until } from '../../support/until.ts'
import { QUICK, post, say, find, follow, textOf, answer } from './app.ts'

interface Database { query: Query, listen: Listen, close: () => Promise<void> }
interface MessageTable {
  migrate: () => Promise<void>
  publish: (chatId: string, message: object, action: object) => Promise<boolean>
  publishStreamed: (chatId: string, message: object) => Promise<boolean>
}

/** A module of the example app, which is plain JavaScript. */
async function exampleModule<T> (name: string): Promise<T> {
  return await import(new URL(`../../../example-app/database/${name}`, import.meta.url).href) as T
}

const { connect } = await exampleModule<{ connect: (url: string) => Database }>('server.js')
const { Messages } = await exampleModule<{ Messages: new (database: Database, outbox: Outbox) => MessageTable }>(
  'messages.js'
)

// Processes and browsers start slowly on a busy machine.
t.setTimeout(180_000)

interface Stored { id: string, text: string, author: string, outcome?: string, error?: string, parts?: object[] }
interface Page { lastEventId?: string, messages: Stored[], before: string | null }

/** The newest messages of a chat, or those before a position. */
async function load ({ url }: { url: string }, chatId: string, query = ''): Promise<Page> {
  const response = await fetch(`${url}/api/chats/${chatId}/messages${query}`)
  t.equal(response.status, 200)
  return await response.json() as Page
}

t.test('one process', async (t) => {
  const env = { ...QUICK, BOT_WORD_MS: '0', DATA_DIR: await exampleData(t) }
  const start = (changes = {}): Promise<ExampleApp> => ExampleApp.start(t, { env: { ...env, ...changes } })
  let app = await start()

  await t.test('messages and answers are stored once, in their order', async (t) => {
    const stream = await follow(t, app, 'general')
    const message = { id: '1795668918303-0.25', text: '1 + 1\0', author: 'Ada' }
    for (let time = 0; time < 2; time++) {
      t.equal((await post(`${app.url}/api/chats/general/messages`, message)).status, 202)
    }
    const events = await stream.take(4)
    const page = await load(app, 'general')
    t.match(page, { messages: [message, { author: 'Robo' }], before: null })
    t.equal(page.messages.length, 2)
    t.equal(page.lastEventId, events[3]?.id, 'the stream can continue from there')
  })

  await t.test('a long answer is stored when it has ended, however it ends', async (t) => {
    const stream = await follow(t, app, 'support')
    for (const text of ['tell me a story', 'break', 'search for lease', 'read the manual']) {
      await say(app, 'support', text)
      const { id, status, at } = await answer(stream)
      const { messages } = await load(app, 'support')
      const stored = messages.find((message) => message.id === id)
      t.match(stored, { author: 'Robo', ...status === 'failed' && { outcome: 'failed', error: /^The language model/ } })
      if (text === 'read the manual') {
        t.ok(at > 0, 'its end does not repeat its content')
        t.match(stored?.parts?.at(-1), { type: 'text', text: /^[^]{250000,}$/ })
      }
    }
  })

  await t.test('a page that gets the events has the order of the rows', async (t) => {
    const stream = await follow(t, app, 'general')
    const texts = Array.from({ length: 22 }, (_, number) => number % 4 === 0 ? 'tell me a story' : `echo ${number}`)
    const answers = texts.map((text) => say(app, 'general', text))
    const ids: string[] = []
    while (ids.length < 2 * texts.length) {
      const { event, data } = await stream.next()
      if (event === 'message') ids.push((data as { message: Stored }).message.id)
      if (event === 'bot_message_stored') ids.push((data as Stored).id)
    }
    for (const { status } of await Promise.all(answers)) t.equal(status, 202)
    t.strictSame((await load(app, 'general')).messages.slice(-ids.length).map(({ id }) => id), ids)
  })

  await t.test('a user cannot take the id of an answer in progress', async (t) => {
    const stream = await follow(t, app, 'ids')
    for (const text of ['tell me a story', 'search for lease']) {
      await say(app, 'ids', text)
      const { id } = await answer(stream, 0)
      const taken = await post(`${app.url}/api/chats/ids/messages`, { id, text: 'mine', author: 'Eve' })
      t.match(taken, { status: 400, body: { code: 'FST_ERR_VALIDATION' } })
      if (text === 'tell me a story') await answer(stream)
    }
  })

  await t.test('a page has 50 messages, and earlier ones are loaded by its position', async (t) => {
    for (let number = 0; number < 51; number++) await say(app, 'many', `echo ${number}`)
    await until(() => load(app, 'many', '?before=999999'), ({ messages }) => messages.at(-1)?.text === '50')
    const pages = [await load(app, 'many')]
    for (let before = pages[0]?.before; typeof before === 'string'; before = pages[0]?.before) {
      pages.unshift(await load(app, 'many', `?before=${before}`))
    }
    t.strictSame(pages.map(({ messages }) => messages.length), [2, 50, 50])
    t.equal(new Set(pages.flatMap(({ messages }) => messages.map(({ id }) => id))).size, 102)
    for (const query of ['?before=x', '?before=1&before=2', '?after=1']) {
      t.equal((await fetch(`${app.url}/api/chats/many/messages${query}`)).status, 400, query)
    }
  })

  await t.test('a second process cannot use the same directory', async (t) => {
    await t.rejects(start(), { message: /Process \d+ uses the database in .*DATA_DIR/ })
  })

  await t.test('a kill loses no message', async (t) => {
    const before = await load(app, 'general')
    await app.stop('SIGKILL')
    app = await start()
    const { messages, lastEventId } = await load(app, 'general')
    t.strictSame(messages, before.messages)
    t.not(lastEventId, before.lastEventId, 'the log is a new one')
  })

  await t.test('a long answer that is cut by the end of the process is stored', async (t) => {
    t.equal(await app.stop(), 0)
    app = await start({ BOT_WORD_MS: '50' })
    const stream = await follow(t, app, 'random')
    await say(app, 'random', 'tell me a story')
    await answer(stream, 3)
    t.equal(await app.stop(), 0)
    app = await start()
    t.match((await load(app, 'random')).messages[1], { text: /^Once there was/, outcome: 'interrupted' })
  })
})

t.test('an instance that is killed leaves the end of its answer to the others', async (t) => {
  const { env } = await startExampleServices(t)
  const [one, two] = await Promise.all(['chat-1', 'chat-2'].map((INSTANCE_ID) => {
    return ExampleApp.start(t, { env: { ...QUICK, ...env, BOT_WORD_MS: '50', INSTANCE_ID } })
  })) as [ExampleApp, ExampleApp]
  // The rooms of the page, and a chat that no instance follows: its end is stored when it is loaded.
  const chats = ['general', 'a-chat-of-this-test']
  const streams = await Promise.all(chats.map((chatId) => follow(t, two, chatId)))
  await Promise.all(chats.map((chatId) => say(one, chatId, 'tell me a story')))
  await Promise.all(streams.map((stream) => answer(stream, 3)))
  await one.stop('SIGKILL')
  for (const [index, stream] of streams.entries()) {
    const end = await answer(stream)
    t.equal(end.status, 'interrupted')
    const { messages } = await load(two, chats[index] as string)
    t.match(messages, [{ text: 'tell me a story' }, { id: end.id, outcome: 'interrupted', text: /^Once there was/ }])
    t.equal(messages.length, 2)
  }
})

t.test('a connection that cannot listen is closed', { skip: PostgresServer.skip }, async (t) => {
  const { url } = await PostgresServer.start(t)
  const database = connect(url)
  t.teardown(() => database.close())
  await closesFailedListener(t, url, database.listen)
})

t.test('messages that are stored at once have the order of their events', { skip: PostgresServer.skip }, async (t) => {
  const database = connect((await PostgresServer.start(t)).url)
  t.teardown(() => database.close())
  const messages = new Messages(database, createOutbox({ dialect: 'postgres', query: database.query }))
  await messages.migrate()
  await Promise.all(Array.from({ length: 100 }, (_, number) => {
    const message = { id: `${number}` }
    return number % 2 === 0 ? messages.publish('c', message, {}) : messages.publishStreamed('c', message)
  }))
  t.equal(await messages.publishStreamed('c', { id: '1' }), false, 'another instance has stored it')
  const rows = await database.query('SELECT id FROM messages ORDER BY position', []) as { id: string }[]
  const events = await database.query('SELECT event FROM realtime_outbox ORDER BY id', []) as { event: string }[]
  t.equal(rows.length, 100)
  t.strictSame(events.map(({ event }) => JSON.parse(event)).flatMap(({ type, id, message }) => {
    return type === 'bot_action' ? [] : [id ?? message.id]
  }), rows.map(({ id }) => id))
})

t.test('with DATABASE_URL, messages are stored in PostgreSQL', { skip: PostgresServer.skip }, async (t) => {
  const [postgres, DATA_DIR] = [await PostgresServer.start(t), join(tmpdir(), 'no-directory-of-the-example')]
  // By default, the tests' PostgreSQL may lose what was committed just before it is killed.
  const env = { ...QUICK, DATABASE_URL: `${postgres.url}?options=-c%20synchronous_commit%3Don`, DATA_DIR }
  let app = await ExampleApp.start(t, { env })
  const stream = await follow(t, app, 'general')
  await say(app, 'general', '1 + 1')
  t.match((await stream.take(4)).map(({ event }) => event), ['message', 'bot_action', 'message', 'bot_action'])

  await t.test('a restart of PostgreSQL loses none, and later ones are published', async (t) => {
    await postgres.kill()
    t.match(await say(app, 'general', '2 + 2'), { status: 503, body: { message: /^The database is not available/ } })
    await postgres.restart()
    t.equal((await say(app, 'general', '3 + 3')).status, 202)
    t.match((await stream.take(4)).flatMap((event) => event.event === 'message' ? [textOf(event)] : []), [
      '3 + 3', '= 6'
    ])
  })

  await t.test('an answer that ends while PostgreSQL is down is stored once it is back', async (t) => {
    await say(app, 'general', 'tell me a story')
    const { id } = await answer(stream, 3)
    await postgres.kill()
    t.equal((await answer(stream)).status, 'finished')
    await until(async () => app.output, (output) => output.includes('A bot message could not be stored yet'))
    await postgres.restart()
    // Not the newest page, which stores what was missed.
    await until(() => load(app, 'general', '?before=999999'), ({ messages }) => messages.at(-1)?.id === id)
  })

  await t.test('an answer that PostgreSQL refuses is left out, and stored once it can be', async (t) => {
    const database = openPool(t, postgres.url)
    const isStory = "message->>'text' LIKE 'Once there was%'"
    await database.query(`ALTER TABLE messages ADD CONSTRAINT refused CHECK (NOT ${isStory}) NOT VALID`)
    await say(app, 'general', 'tell me a story')
    const { id } = await answer(stream)
    await until(async () => app.output, (output) => output.includes('A bot message cannot be stored, so it is left'))
    const newest = async (): Promise<string | undefined> => (await load(app, 'general')).messages.at(-1)?.id
    t.not(await newest(), id)
    await database.query('ALTER TABLE messages DROP CONSTRAINT refused')
    t.equal(await newest(), id)
    t.match(await find(stream, ({ event }) => event === 'bot_message_stored'), { data: { id } })
  })

  await t.test('the app closes while PostgreSQL is down', async (t) => {
    await say(app, 'general', 'tell me a story')
    await answer(stream, 3)
    await postgres.kill()
    t.equal(await app.stop(), 0)
    await postgres.restart()
  })

  await t.test('another process finds them there', async (t) => {
    t.equal(await app.stop(), 0)
    app = await ExampleApp.start(t, { env })
    const { messages } = await load(app, 'general')
    t.strictSame(messages.slice(0, 4).map(({ text }) => text), ['1 + 1', '= 2', '3 + 3', '= 6'])
    t.notOk(existsSync(DATA_DIR), 'the database of this process is not used')
  })
})
