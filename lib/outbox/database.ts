import { withTimeout } from '../core/with-timeout.ts'
import { RealtimeError, kindOf } from '../errors.ts'
import type { OutboxStats } from '../observability/prometheus.ts'
import type { Dialect, Statement, WaitingRow } from './dialect.ts'
import type { OutboxValues } from './options.ts'

/** The most rows that `stats` counts. */
const MOST_COUNTED = 10_000

/** The tables of an outbox, as its relay uses them. Each method rejects if the database does, or after a while. */
export class Database {
  readonly #dialect: Dialect
  readonly #options: Pick<OutboxValues, 'query' | 'queryTimeoutMs'>

  constructor (dialect: Dialect, options: Pick<OutboxValues, 'query' | 'queryTimeoutMs'>) {
    this.#dialect = dialect
    this.#options = options
  }

  async migrate (): Promise<void> {
    for (const statement of this.#dialect.migration) await this.#run(statement)
  }

  /** Takes the lease of the relay, or extends it. Returns whether this owner has it now. */
  async claim (owner: string, ms: number): Promise<boolean> {
    return (await this.#run(this.#dialect.claim(owner, ms))).length > 0
  }

  async release (owner: string): Promise<void> {
    await this.#run(this.#dialect.release(owner))
  }

  async waiting (limit: number, bytes: number, except: readonly string[]): Promise<WaitingRow[]> {
    const statement = this.#dialect.waiting(limit, bytes, except)
    const rows = this.#dialect.isSynchronous ? this.#readCommitted(statement) : await this.#run(statement)
    return rows.map(({ id, chat, event, key }) => ({
      id: String(id), chatId: String(chat), event: String(event), key: String(key)
    }))
  }

  async remove (ids: readonly string[]): Promise<void> {
    if (ids.length > 0) await this.#run(this.#dialect.remove(ids))
  }

  async setAside (id: string, error: string): Promise<void> {
    await this.#run(this.#dialect.setAside(id, error))
  }

  async stats (): Promise<OutboxStats> {
    const [row] = await this.#run(this.#dialect.stats(MOST_COUNTED))
    return { waiting: Number(row?.waiting), oldestSeconds: Number(row?.age ?? 0), setAside: Number(row?.aside) }
  }

  /**
   * Reads rows of SQLite. The app may have begun a transaction on the same connection, and still roll it back. SQLite
   * refuses to begin another one within it.
   */
  #readCommitted ([sql, params]: Statement): Rows {
    const { query } = this.#options
    query('BEGIN', [])
    try {
      return checkRows(query(sql, params))
    } finally {
      query('COMMIT', [])
    }
  }

  async #run ([sql, params]: Statement): Promise<Rows> {
    const { query, queryTimeoutMs } = this.#options
    return checkRows(await withTimeout((async () => await query(sql, params))(), queryTimeoutMs))
  }
}

type Rows = readonly Record<string, unknown>[]

function checkRows (rows: unknown): Rows {
  if (Array.isArray(rows)) return rows
  throw new RealtimeError(
    'RT_OPTION_INVALID',
    `\`query\` must return an array of rows, got ${kindOf(rows)}. Many clients have it in \`rows\``
  )
}
