// @ts-check
import { createServer } from 'node:http'
import pg from 'pg'
import { Chats } from './chats.js'
import { listen } from './listen.js'
import { Countdown, openMessages, secondsOf } from './messages.js'

const CHANNEL = 'events'

/**
 * Code that an app would write by hand without Redis: each transaction notifies the event itself, and each instance
 * writes it to its responses. Nothing is stored, and an event has at most 7,999 bytes.
 * @param {{ databaseUrl: string }} options
 */
export default async function start ({ databaseUrl }) {
  const { commit, sendAll } = openMessages(databaseUrl)
  /** @type {Chats<import('node:http').ServerResponse>} */
  const chats = new Chats()
  const server = createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
    response.flushHeaders()
    response.on('close', chats.enter(String(request.url).slice(1), response))
  })
  const notifications = new Countdown()
  let id = 0
  const listener = new pg.Client(databaseUrl)
  await listener.connect()
  listener.on('notification', ({ payload = '' }) => {
    notifications.take(1)
    const frame = `id: ${++id}\nevent: message\ndata: ${payload}\n\n`
    for (const response of chats.in(JSON.parse(payload).chatId)) response.write(frame)
  })
  await listener.query(`LISTEN ${CHANNEL}`)
  const send = (/** @type {string} */ chatId, /** @type {any} */ event) => commit(chatId, event, (client) =>
    client.query('SELECT pg_notify($1, $2)', [CHANNEL, JSON.stringify(event)]))
  return {
    port: await listen(server),
    path: '/:chat',
    publish: send,
    functions: {
      run: (/** @type {number} */ count, /** @type {number} */ chats, /** @type {number} */ bytes) =>
        secondsOf(async () => {
          const done = notifications.from(count)
          await sendAll(send, count, chats, bytes)
          await done
        })
    }
  }
}
