// @ts-check
import pg from 'pg'
import { makeEvent } from '../event.js'

/** Connections to the database, each of which runs one transaction after another. */
const CONNECTIONS = 16

/**
 * The messages of an app in a table.
 * @param {string} databaseUrl
 */
export function openMessages (databaseUrl) {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: CONNECTIONS + 2 })
  /** @type {Map<string, number>} The number of the next event of each chat. */
  const numbers = new Map()

  /**
   * Inserts a message in a transaction of its own. `add` adds to the transaction.
   * @param {string} chatId
   * @param {ReturnType<typeof makeEvent>} event
   * @param {(client: pg.PoolClient) => Promise<unknown>} [add]
   */
  async function commit (chatId, { message: { text } }, add) {
    const client = await pool.connect()
    await client.query('BEGIN')
    await client.query('INSERT INTO messages (chat, text) VALUES ($1, $2)', [chatId, text])
    await add?.(client)
    await client.query('COMMIT')
    client.release()
  }

  /**
   * Sends `count` messages to `chats` chats on all connections. The messages of a chat are sent one after another.
   * @param {(chatId: string, event: ReturnType<typeof makeEvent>) => Promise<unknown>} send
   * @param {number} count
   * @param {number} chats
   * @param {number} bytes
   */
  async function sendAll (send, count, chats, bytes) {
    let sent = 0
    await Promise.all(Array.from({ length: CONNECTIONS }, async (_, lane) => {
      for (let chat = lane; sent < count; chat = (chat + CONNECTIONS) % chats) {
        sent++
        const chatId = `chat${chat}`
        const number = numbers.get(chatId) ?? 0
        numbers.set(chatId, number + 1)
        await send(chatId, makeEvent(chatId, number, bytes))
      }
    }))
  }

  return { pool, commit, sendAll }
}

/** Counts down, and resolves at zero. */
export class Countdown {
  #left = 0
  #done = () => {}

  /**
   * @param {number} count
   * @returns {Promise<void>}
   */
  from (count) {
    this.#left = count
    return new Promise((resolve) => { this.#done = resolve })
  }

  /** @param {number} count */
  take (count) {
    this.#left -= count
    if (this.#left === 0) this.#done()
  }
}

/**
 * Resolves with the seconds that a task takes.
 * @param {() => Promise<unknown>} run
 */
export async function secondsOf (run) {
  const start = performance.now()
  await run()
  return (performance.now() - start) / 1000
}
