import { randomUUID } from 'node:crypto'
import { buildEvent } from '../chat/build-event.ts'
import type { RelayContext, RelayedOutbox, RunningRelay } from '../chat/relayed-outbox.ts'
import { toJson } from '../core/json.ts'
import { silentLogger } from '../core/logger.ts'
import { checkOptions, invalid, refuseUnknown, resolve } from '../core/options.ts'
import { RealtimeError } from '../errors.ts'
import type { ChatEventInput } from '../event-types.ts'
import { checkIdempotencyKey, getChatChannel } from '../pubsub/names.ts'
import { checkSize } from '../pubsub/publisher.ts'
import type { OutboxStats } from '../observability/prometheus.ts'
import { Database } from './database.ts'
import type { Dialect, Statement } from './dialect.ts'
import {
  outboxOptions, type DialectName, type OutboxOptions, type OutboxValues, type Query
} from './options.ts'
import { postgres } from './postgres.ts'
import { Relay } from './relay.ts'
import { sqlite } from './sqlite.ts'

/** Options of `Outbox.add`. */
export interface AddOptions {
  /**
   * Adding another row of this chat with the same key, before `keyTtlMs` milliseconds have passed, publishes nothing. 1
   * to 200 characters.
   * @default a new one for each call
   */
  key?: string | undefined
}

/** Publishes the events of rows that were committed, and of no others. */
export interface Outbox<Name extends DialectName = DialectName> extends RelayedOutbox {
  /** Creates the tables, if they don't exist. Several processes may call it at the same time. */
  migrate (): Promise<void>
  /**
   * Adds an event to the transaction in which `query` runs its statements. It is published once the transaction has
   * committed, and never if that rolls back. With PostgreSQL the promise resolves once the statement has run; with
   * SQLite it has run when the call returns. Fails with `RT_CHAT_ID_INVALID`, `RT_EVENT_TYPE_INVALID`,
   * `RT_PAYLOAD_INVALID`, `RT_PAYLOAD_TOO_LARGE`, `RT_IDEMPOTENCY_KEY_INVALID`, or the error of the database.
   */
  add (
    query: Query, chatId: string, event: ChatEventInput, options?: AddOptions
  ): Name extends 'sqlite' ? void : Promise<void>
}

/** Creates an outbox in a table of the app's database. Throws `RT_OPTION_INVALID`. */
export function createOutbox<Options extends OutboxOptions> (options: Options): Outbox<Options['dialect']> {
  const given = checkOptions<OutboxOptions>(options, 'query and dialect')
  refuseUnknown(outboxOptions, given)
  const values = resolve(outboxOptions, given)
  if (values.query === undefined) throw invalid('query', 'a function', undefined, 'It runs a statement')
  if (values.dialect === undefined) throw invalid('dialect', 'postgres or sqlite', undefined, 'It names the database')
  // The cast is safe: `add` returns what the dialect says.
  return new TableOutbox(values as OutboxValues) as unknown as Outbox<Options['dialect']>
}

class TableOutbox implements Outbox<'postgres' | 'sqlite'> {
  readonly #options: OutboxValues
  readonly #channel: string
  readonly #dialect: Dialect
  readonly #database: Database
  readonly #relays = new Set<Relay>()

  constructor (options: OutboxValues) {
    const { dialect, table, listen } = options
    this.#options = options
    this.#channel = table.replace('.', '_')
    const [rows, lease] = [quoted(table), quoted(`${table}_lease`)]
    this.#dialect = dialect === 'sqlite'
      ? sqlite(rows, lease)
      : postgres(rows, lease, listen === undefined ? undefined : this.#channel)
    this.#database = new Database(this.#dialect, options)
  }

  async migrate (): Promise<void> {
    await this.#database.migrate()
  }

  add (query: Query, chatId: string, event: ChatEventInput, options?: AddOptions): void | Promise<void> {
    return this.#dialect.isSynchronous
      ? this.#addNow(query, chatId, event, options)
      : this.#add(query, chatId, event, options)
  }

  async #add (...[query, ...row]: Parameters<Outbox['add']>): Promise<void> {
    await query(...this.#statementFor(...row))
  }

  #addNow (...[query, ...row]: Parameters<Outbox['add']>): void {
    const statement = this.#statementFor(...row)
    mustBeSynchronous(query)
    query(...statement)
    // Transactions of SQLite are synchronous, so this one has ended by then.
    setImmediate(() => { for (const relay of this.#relays) relay.wake() })
  }

  /** Throws the errors of `add`. */
  #statementFor (chatId: string, event: ChatEventInput, options?: AddOptions): Statement {
    getChatChannel(chatId)
    // PostgreSQL stores no NUL in a text.
    if (chatId.includes('\0')) throw new RealtimeError('RT_CHAT_ID_INVALID', 'a NUL character in it')
    const { key: given } = checkOptions(options, 'key')
    const key = checkIdempotencyKey(given) ?? randomUUID()
    if (key.includes('\0')) throw new RealtimeError('RT_IDEMPOTENCY_KEY_INVALID', 'a NUL character in it')
    const json = toJson(buildEvent(chatId, event))
    checkSize(json, this.#options.maxPayloadBytes)
    return this.#dialect.add(chatId, json, key)
  }

  startRelay ({ chatEvents, log = silentLogger }: RelayContext): RunningRelay {
    if (chatEvents?.remembersRows === undefined) {
      throw invalid('chatEvents', 'that of the plugin or of getChatEvents()', chatEvents, 'The relay publishes with it')
    }
    if (!chatEvents.remembersRows) {
      throw new RealtimeError('RT_OPTION_INVALID', 'An outbox needs a built-in provider with the option `history`: ' +
        'without it, a row could be published twice. Turn history on, or leave `pubsub` out')
    }
    const relay: Relay = new Relay(this.#database, this.#options, this.#channel, { chatEvents, log }, () => {
      this.#relays.delete(relay)
    })
    this.#relays.add(relay)
    return relay
  }

  async stats (): Promise<OutboxStats> {
    return await this.#database.stats()
  }
}

/** Queries that have returned rows rather than a promise. */
const synchronous = new WeakSet<Query>()

/** Throws for a query that returns a promise. It is tried first, so that it adds no row although `add` fails. */
function mustBeSynchronous (query: Query): void {
  if (synchronous.has(query)) return
  const rows = query('SELECT 1 AS one', [])
  if (typeof (rows as Partial<Promise<unknown>> | undefined)?.then === 'function') {
    Promise.resolve(rows).catch(() => {})
    throw invalid('query', 'a function that returns rows', rows, 'SQLite runs statements synchronously')
  }
  synchronous.add(query)
}

/** The name of a table, with or without a schema, as an identifier of SQL. It was checked, so it contains no quotes. */
function quoted (table: string): string {
  return table.split('.').map((name) => `"${name}"`).join('.')
}
