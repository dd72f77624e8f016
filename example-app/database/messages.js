// @ts-check

/**
 * @typedef {import('../message.js').Message} Message
 * @typedef {import('fastify-realtime').BotAction} BotAction
 *
 * @typedef {object} Page Messages of a chat, in the order in which they were stored.
 * @property {Message[]} messages
 * @property {string | null} before Pass it to read the messages before these. `null` if there are none.
 */

/** The code of PostgreSQL for a row that is there already. */
const UNIQUE_VIOLATION = '23505'

const LENGTH = 50
/** A long answer of the bot has several hundred kilobytes. */
const MOST_BYTES = 1_000_000
const NEWEST = '9223372036854775807'

/** `json`, since neither `jsonb` nor `text` can have the character U+0000. */
const SCHEMA = [
  `CREATE TABLE IF NOT EXISTS messages (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chat_id text NOT NULL,
    id text NOT NULL,
    message json NOT NULL,
    UNIQUE (chat_id, id)
  )`,
  'CREATE INDEX IF NOT EXISTS messages_of_chats ON messages (chat_id, position)'
]
/** Any number that no other app uses. Two instances that create the tables at once would disturb each other. */
const SCHEMA_LOCK = 5_201_347

const INSERT = 'INSERT INTO messages (chat_id, id, message) VALUES ($1, $2, $3)'

/** The newest rows, as many as fit. */
const SELECT_PAGE = `
  WITH newest AS (
    SELECT position, message FROM messages WHERE chat_id = $1 AND position < $2 ORDER BY position DESC LIMIT $3 + 1
  ), numbered AS (
    SELECT position, message,
      row_number() OVER (ORDER BY position DESC) AS number,
      sum(octet_length(message::text)) OVER (ORDER BY position DESC) AS bytes
    FROM newest
  )
  SELECT position::text AS position, message, (SELECT count(*)::int FROM newest) AS found
  FROM numbered
  WHERE number <= $3 AND (number = 1 OR bytes <= $4)
  ORDER BY numbered.position`

const SELECT_IDS = 'SELECT id FROM messages WHERE chat_id = $1 AND id = ANY ($2::text[])'

/** The messages of all chats. What is committed is published, and nothing else. */
export class Messages {
  #database
  #outbox

  /**
   * @param {Pick<import('./open.js').Database, 'query' | 'transaction'>} database
   * @param {import('fastify-realtime/outbox').Outbox<'postgres'>} outbox
   */
  constructor (database, outbox) {
    this.#database = database
    this.#outbox = outbox
  }

  /** Creates the tables. */
  async migrate () {
    await this.#outbox.migrate()
    await this.#database.transaction(async (query) => {
      await query('SELECT pg_advisory_xact_lock($1)', [SCHEMA_LOCK])
      for (const statement of SCHEMA) await query(statement)
    })
  }

  /**
   * Stores a message, so that it is published, and what the bot does after it. Does nothing and returns false if the
   * chat has a message with its id already.
   *
   * @param {string} chatId
   * @param {Message} message
   * @param {BotAction} action
   */
  async publish (chatId, message, action) {
    return await this.#store(chatId, message, [{ type: 'message', message }, { type: 'bot_action', action }])
  }

  /**
   * Stores a bot message that was streamed, and publishes that it is stored. The event has no content, which may be
   * longer than an event. Does nothing and returns false if it is stored already.
   *
   * @param {string} chatId
   * @param {Message} message
   */
  async publishStreamed (chatId, message) {
    return await this.#store(chatId, message, [{ type: 'bot_message_stored', id: message.id }])
  }

  /** Publishes what the bot does, after the messages before that. @param {string} chatId @param {BotAction} action */
  async publishAction (chatId, action) {
    await this.#outbox.add(this.#database.query, chatId, { type: 'bot_action', action })
  }

  /** Which of these messages are stored. @param {string} chatId @param {string[]} ids */
  async stored (chatId, ids) {
    const rows = await this.#database.query(SELECT_IDS, [chatId, ids])
    return new Set(rows.map(({ id }) => String(id)))
  }

  /** @param {string} chatId @param {string} [before] of a page @returns {Promise<Page>} */
  async page (chatId, before = NEWEST) {
    const rows = await this.#database.query(SELECT_PAGE, [chatId, before, LENGTH, MOST_BYTES])
    const [oldest] = rows
    const hasMore = oldest !== undefined && Number(oldest.found) > rows.length
    return {
      messages: rows.map(({ message }) => /** @type {Message} */ (message)),
      before: hasMore ? String(oldest.position) : null
    }
  }

  /** @param {string} chatId @param {Message} message @param {import('fastify-realtime').ChatEventInput[]} events */
  async #store (chatId, message, events) {
    try {
      await this.#database.transaction(async (query) => {
        // First, since it locks the outbox for this chat: then the rows are in the order of the events.
        for (const event of events) await this.#outbox.add(query, chatId, event)
        await query(INSERT, [chatId, message.id, JSON.stringify(message)])
      })
      return true
    } catch (error) {
      if (/** @type {{ code?: string }} */ (error).code === UNIQUE_VIOLATION) return false
      throw error
    }
  }
}
