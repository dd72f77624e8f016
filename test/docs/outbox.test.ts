import t from 'tap'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import pg from 'pg'
import { EventStream } from '../support/event-stream.ts'
import { PostgresServer } from '../support/postgres.ts'
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

t.test('a transaction of SQLite adds a row', async (t) => {
  const [snippet] = guide.snippets('SQLite')
  const folder = await writeSnippet(t, snippet, 'server.js')
  const { stdout } = await promisify(execFile)(process.execPath, ['server.js'], { cwd: folder })
  t.match(stdout, /waiting: 1/)
})
