// @ts-check
import Fastify from 'fastify'
import pg from 'pg'
import realtimePlugin from '../../dist/index.js'
import { createOutbox } from '../../dist/outbox/index.js'
import { makeEvent } from '../event.js'
import { listen } from './listen.js'
import { Countdown, openMessages, secondsOf } from './messages.js'

/** Rows that a transaction of the backlog adds. */
const BACKLOG = 1_000

/**
 * The plugin with an outbox, as in docs/outbox.md. Its relay runs in the same process.
 * @param {{ redisUrl: string, databaseUrl: string, history?: object }} options
 */
export default async function start ({ redisUrl, databaseUrl, history }) {
  const { pool, commit, sendAll } = openMessages(databaseUrl)
  const deletions = new Countdown()
  const queryOf = (/** @type {{ query: pg.Pool['query'] }} */ client) =>
    async (/** @type {string} */ sql, /** @type {unknown[]} */ params) => (await client.query(sql, params)).rows
  const relayQuery = async (/** @type {string} */ sql, /** @type {unknown[]} */ params) => {
    const rows = await queryOf(pool)(sql, params)
    // A row is deleted once its publish is acknowledged.
    if (sql.startsWith('DELETE')) deletions.take(JSON.parse(String(params[0])).length)
    return rows
  }
  const outbox = createOutbox({ dialect: 'postgres', query: relayQuery, listen: listenAt(databaseUrl) })
  await outbox.migrate()
  const app = Fastify()
  await app.register(realtimePlugin, { redisUrl, ...history !== undefined && { history } })
  const port = await listen(app)
  const startRelay = () => outbox.startRelay({ chatEvents: app.chatEvents, log: app.log })
  let relay = startRelay()
  const send = (/** @type {string} */ chatId, /** @type {ReturnType<typeof makeEvent>} */ event) =>
    commit(chatId, event, (client) => outbox.add(queryOf(client), chatId, { type: 'message', message: event.message }))
  return {
    port,
    path: '/api/chats/:chat/events',
    ready: 'event: ready',
    publish: send,
    functions: {
      run: (/** @type {number} */ count, /** @type {number} */ chats, /** @type {number} */ bytes) =>
        secondsOf(async () => {
          const done = deletions.from(count)
          await sendAll(send, count, chats, bytes)
          await done
        }),

      /** Commits rows while no relay runs. */
      async accumulate (/** @type {number} */ count, /** @type {number} */ chats, /** @type {number} */ bytes) {
        await relay.stop()
        const client = await pool.connect()
        for (let number = 0; number < count; number++) {
          if (number % BACKLOG === 0) await client.query(number === 0 ? 'BEGIN' : 'COMMIT; BEGIN')
          const chatId = `chat${number % chats}`
          const { message } = makeEvent(chatId, number, bytes)
          await outbox.add(queryOf(client), chatId, { type: 'message', message })
        }
        await client.query('COMMIT')
        client.release()
      },

      /** Publishes rows that were accumulated. */
      drain: (/** @type {number} */ count) => secondsOf(async () => {
        const done = deletions.from(count)
        relay = startRelay()
        await done
      })
    }
  }
}

/**
 * @param {string} url
 * @returns {import('../../dist/outbox/index.js').Listen}
 */
function listenAt (url) {
  return async (channel, onNotify, onLost) => {
    const client = new pg.Client(url)
    client.on('error', onLost).on('end', onLost).on('notification', onNotify)
    await client.connect()
    await client.query(`LISTEN "${channel}"`)
    return () => client.end()
  }
}
