/** Inserts one or several items in each transaction, which is rolled back now and then. CHATS are the chats. */
import { setTimeout as delay } from 'node:timers/promises'
import { database, outboxOf, query } from './app.js'

const outbox = outboxOf(query)
const chats = process.env.CHATS.split(',')
const stopping = new AbortController()
process.once('SIGTERM', () => stopping.abort())
process.send(0)
process.disconnect()

while (!stopping.signal.aborted) {
  change()
  await delay(Math.random() * 20)
}

function change () {
  const isRolledBack = Math.random() < 0.3
  database.exec('BEGIN IMMEDIATE')
  for (let n = 0; n < 1 + Math.floor(Math.random() * 3); n++) {
    const chatId = chats[Math.floor(Math.random() * chats.length)]
    const body = `${isRolledBack ? 'rolled back' : 'item'} ${Math.random()}`
    const [message] = query('INSERT INTO items (chat, body) VALUES (?, ?) RETURNING id, body', [chatId, body])
    outbox.add(query, chatId, { type: 'message', message })
  }
  database.exec(isRolledBack ? 'ROLLBACK' : 'COMMIT')
}
