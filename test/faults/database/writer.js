/**
 * Changes items at random: one or several changes in each transaction, which is rolled back now and then. CHATS
 * are the chats, separated by commas.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { outbox, pool, queryOf } from './app.js'

const chats = process.env.CHATS.split(',')
const pick = (list) => list[Math.floor(Math.random() * list.length)]
const stopping = new AbortController()
process.once('SIGTERM', () => stopping.abort())
process.send(0)
process.disconnect()

while (!stopping.signal.aborted) {
  await change().catch(() => {})
  await delay(Math.random() * Number(process.env.PACE_MS) * 2)
}
await pool.end()

async function change () {
  const client = await pool.connect()
  const isRolledBack = Math.random() < 0.3
  try {
    await client.query('BEGIN')
    // In one chat only: transactions that add to several chats could wait for each other.
    const chatId = pick(chats)
    for (let n = 0; n < 1 + Math.floor(Math.random() * 3); n++) {
      const message = await pick([insert, insert, edit, remove])(client, chatId, isRolledBack)
      if (message === undefined) continue
      await client.query('INSERT INTO audit (id, version) VALUES ($1, $2)', [message.id, message.version])
      await outbox.add(queryOf(client), chatId, { type: 'message', message })
      if (Math.random() < 0.2) await delay(Math.random() * 50)
    }
    await client.query(isRolledBack ? 'ROLLBACK' : 'COMMIT')
    client.release()
  } catch (error) {
    client.release(error)
    throw error
  }
}

async function insert (client, chatId, isRolledBack) {
  const body = `${isRolledBack ? 'rolled back' : 'item'} ${Math.random()}`
  const sql = 'INSERT INTO items (chat, body, version) VALUES ($1, $2, 1) RETURNING id, body, version'
  return (await client.query(sql, [chatId, body])).rows[0]
}

async function edit (client, chatId) {
  const sql = `UPDATE items SET body = $2, version = version + 1 WHERE id = (
    SELECT id FROM items WHERE chat = $1 ORDER BY random() LIMIT 1 FOR UPDATE
  ) RETURNING id, body, version`
  return (await client.query(sql, [chatId, `edited ${Math.random()}`])).rows[0]
}

async function remove (client, chatId) {
  const sql = `DELETE FROM items WHERE id = (
    SELECT id FROM items WHERE chat = $1 ORDER BY random() LIMIT 1 FOR UPDATE
  ) RETURNING id, version + 1 AS version`
  const item = (await client.query(sql, [chatId])).rows[0]
  return item && { ...item, isRemoved: true }
}
