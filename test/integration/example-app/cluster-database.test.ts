import t from 'tap'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import pg from 'pg'
import { startExampleDatabase } from '../../support/example-database.ts'

// Processes start slowly on a busy machine.
t.setTimeout(180_000)

t.test('clients share the database of the cluster', async (t) => {
  const connectionString = await startExampleDatabase(t)
  const connect = async (): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString })
    await client.connect()
    t.teardown(() => client.end())
    return client
  }
  const clients = await Promise.all([connect(), connect(), connect(), connect()])
  const [one, two] = clients
  await one.query('CREATE TABLE counters (id int PRIMARY KEY, count int)')
  await one.query('INSERT INTO counters VALUES (1, 0)')

  await t.test('queries at the same time get their own rows', async (t) => {
    const values = await Promise.all(clients.map(async (client, index) => {
      const rows = []
      for (let round = 0; round < 25; round++) {
        // As many parameters as no other client has.
        const parameters = Array.from({ length: index + 1 }, (_, position) => `$${position + 1}::int AS v${position}`)
        rows.push((await client.query(`SELECT ${parameters.join()}`, Array(index + 1).fill(round))).rows[0])
      }
      return rows.map((row) => Object.values(row))
    }))
    t.strictSame(values, clients.map((_, index) => {
      return Array.from({ length: 25 }, (_, round) => Array(index + 1).fill(round))
    }))
  })

  await t.test('transactions do not mix, and an error ends only its own', async (t) => {
    await Promise.all(clients.map(async (client, index) => {
      for (let round = 0; round < 10; round++) {
        await client.query('BEGIN')
        const { rows: [{ count }] } = await client.query('SELECT count FROM counters WHERE id = $1', [1])
        await client.query('UPDATE counters SET count = $1 WHERE id = 1', [count + 1])
        if (index > 0) await client.query('COMMIT')
        else {
          await t.rejects(client.query('INSERT INTO counters VALUES ($1, 0)', [1]), { code: '23505' })
          await t.rejects(client.query('SELECT $1::int', [1]), { code: '25P02' })
          await client.query('ROLLBACK')
        }
      }
    }))
    t.strictSame((await one.query('SELECT count FROM counters')).rows, [{ count: 30 }])
  })

  await t.test('a client that disconnects in a transaction has changed nothing, and holds up no other', async (t) => {
    const leaving = new pg.Client({ connectionString })
    await leaving.connect()
    const ended = once(leaving, 'error')
    await leaving.query('BEGIN')
    await leaving.query('UPDATE counters SET count = $1', [-1])
    const waiting = two.query('SELECT count FROM counters WHERE id = $1', [1])
    // The types of `pg` do not name the connection.
    const { connection } = leaving as unknown as { connection: { stream: Socket } }
    connection.stream.destroy()
    await ended
    t.strictSame((await waiting).rows, [{ count: 30 }])
  })

  await t.test('a notification reaches all of them', async (t) => {
    await Promise.all([one, two].map((client) => client.query('LISTEN news')))
    const heard = Promise.all([one, two].map((client) => once(client, 'notification')))
    await one.query("SELECT pg_notify('news', $1)", ['hello'])
    t.match(await heard, [[{ channel: 'news', payload: 'hello' }], [{ channel: 'news', payload: 'hello' }]])
  })

  await t.test('a row may be large', async (t) => {
    const text = 'x'.repeat(3_000_000)
    t.equal((await two.query('SELECT $1::text AS text', [text])).rows[0].text, text)
  })
})
