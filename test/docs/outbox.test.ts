import t, { type Test } from 'tap'
import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import pg from 'pg'
import { EventStream } from '../support/event-stream.ts'
import { plainNode } from '../support/plain-node.ts'
import { closesFailedListener, openPool, PostgresServer } from '../support/postgres.ts'
import { Document, serveSnippet, writeSnippet } from '../support/snippets.ts'

const guide = await Document.read('docs/outbox.md')

t.test('a message that is stored is published', { skip: PostgresServer.skip }, async (t) => {
  const { url: DATABASE_URL } = await PostgresServer.start(t)
  const [server] = guide.snippets('The outbox')
  const url = await serveSnippet(t, server, { env: { DATABASE_URL } })
  const stream = await EventStream.open(t, `${url}/api/chats/general/events`)
  t.match(await stream.next(), { event: 'ready' })
  const response = await fetch(`${url}/chats/general/messages`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"text":"hello"}'
  })
  t.equal(response.status, 201)
  t.match(await stream.next(), { event: 'message', data: { message: { id: '1', text: 'hello' } } })
  const client = new pg.Client(DATABASE_URL)
  await client.connect()
  t.teardown(() => client.end())
  const { rows } = await client.query('SELECT text FROM messages')
  t.same(rows, [{ text: 'hello' }])
})

t.test('a connection that cannot listen is closed', { skip: PostgresServer.skip }, async (t) => {
  const { url } = await PostgresServer.start(t)
  const [, listen] = /^(async function listen .*?^\})$/ms.exec(String(guide.snippets('The outbox')[0])) ?? []
  const code = `import pg from 'pg'\nexport ${String(listen).replace('process.env.DATABASE_URL', `'${url}'`)}`
  const folder = await writeSnippet(t, code, 'listen.js')
  await closesFailedListener(t, url, (await import(`${folder}/listen.js`)).listen)
})

/** Adds to transactions with the module of a client, and prints what was published. */
const USE = `
import { ChatEvents, LocalPubSub } from 'fastify-realtime'
import { inTransaction, outbox } from './database.js'

const failure = new Error('rolled back')
const lines = []
const log = Object.fromEntries(['debug', 'info', 'warn', 'error'].map((level) =>
  [level, (fields, text) => { if (level !== 'debug') lines.push([level, fields, text]) }]))
const add = async (text, { isRolledBack = false } = {}) => await inTransaction((query) => {
  const added = outbox.add(query, 'general', { type: 'message', message: { text } })
  if (!isRolledBack) return added
  if (added === undefined) throw failure
  return added.then(() => { throw failure })
})

await Promise.all([outbox.migrate(), outbox.migrate()])
await add('one')
await add('two', { isRolledBack: true }).catch((error) => { if (error !== failure) throw error })
const before = await outbox.stats()
const chatEvents = new ChatEvents(new LocalPubSub({ log }), { log })
const texts = []
let published
chatEvents.onChatEvent('general', ({ message: { text } }) => { texts.push(text); published() })
const relay = outbox.startRelay({ chatEvents, log })
for (const text of ['', 'three', 'four']) {
  const next = new Promise((resolve) => { published = resolve })
  if (text !== '') await add(text)
  await next
}
await relay.stop()
const after = await outbox.stats()
console.log(JSON.stringify({ before: before.waiting, texts, after: after.waiting, lines }))
process.exit()
`

/** Returns why a module cannot be imported here, or `false`. */
function lacks (name: string): string | false {
  try {
    createRequire(import.meta.url).resolve(name)
    return false
  } catch {
    return `${name} is not installed`
  }
}

/**
 * Prisma itself is too heavy a dependency: its client has to be generated. This one has the same call, and sends the
 * statement to PostgreSQL as the adapter of Prisma for \`pg\` does.
 */
const PRISMA = `
import pg from 'pg'
class Raw {
  constructor (client) { this.client = client }
  async $queryRawUnsafe (text, ...values) { return (await this.client.query({ text, values })).rows }
}
export class PrismaClient extends Raw {
  constructor ({ adapter }) { super(new pg.Pool(adapter)) }
  async $transaction (run) {
    const client = await this.client.connect()
    try {
      await client.query('BEGIN')
      await run(new Raw(client))
      await client.query('COMMIT')
    } catch (error) {
      await client.query('ROLLBACK')
      throw error
    } finally {
      client.release()
    }
  }
}
`

/** Runs the snippet below a heading. `files` are others that it imports. */
async function useClient (
  t: Test, heading: string, env: Record<string, string>, files: Record<string, string> = {}
): Promise<void> {
  const [snippet = ''] = guide.snippets(`${heading}\n`)
  // If it listens, it needs no polling.
  const code = snippet.replace(', listen })', ', listen, pollMs: 600_000 })')
    // In Node 20, a package has the functions of this module.
    .replace("'node:sqlite'", lacks('node:sqlite') === false ? "'node:sqlite'" : "'@photostructure/sqlite'")
  const folder = await writeSnippet(t, code, 'database.js', { 'use.js': USE, ...files })
  const [command, args] = plainNode('use.js')
  const { stdout } = await promisify(execFile)(command, args, { cwd: folder, env: { ...process.env, ...env } })
  // `postgres` prints notices.
  const [result = ''] = stdout.trim().split('\n').slice(-1)
  t.same(JSON.parse(result), { before: 1, texts: ['one', 'three', 'four'], after: 0, lines: [] })
}

t.test('an outbox with other clients of PostgreSQL', { skip: PostgresServer.skip }, async (t) => {
  const { url } = await PostgresServer.start(t)
  const pool = openPool(t, url)
  const clients: Record<string, Record<string, string>> = {
    postgres: {},
    Kysely: {},
    Drizzle: {},
    Prisma: {
      'generated/prisma/client.js': PRISMA,
      'node_modules/@prisma/adapter-pg/package.json': '{"type":"module","exports":"./index.js"}',
      'node_modules/@prisma/adapter-pg/index.js': 'export class PrismaPg { constructor (o) { Object.assign(this, o) } }'
    }
  }
  for (const [heading, files] of Object.entries(clients)) {
    await t.test(heading, async (t) => {
      await pool.query(`CREATE DATABASE of_${heading}`)
      await useClient(t, heading, { DATABASE_URL: new URL(`/of_${heading.toLowerCase()}`, url).href }, files)
    })
  }
})

t.test('an outbox with PGlite', async (t) => {
  await useClient(t, 'PGlite', { DATABASE_FOLDER: 'data' })
})

t.test('an outbox with node:sqlite', async (t) => {
  await useClient(t, 'SQLite', { DATABASE_FILE: 'app.db' })
})

t.test('an outbox with better-sqlite3', { skip: lacks('better-sqlite3') }, async (t) => {
  await useClient(t, 'better-sqlite3', { DATABASE_FILE: 'app.db' })
})
