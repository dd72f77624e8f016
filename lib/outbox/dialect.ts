/** A statement with its parameters. */
export type Statement = readonly [sql: string, params: unknown[]]

/** A row that waits to be published. */
export interface WaitingRow {
  id: string
  chatId: string
  /** The event as JSON. */
  event: string
  /** The idempotency key of the publish. */
  key: string
}

/** What an outbox asks of its database, as SQL. Times are those of the database where it has a clock to share. */
export interface Dialect {
  /** Whether its statements return when they are done, as those of SQLite do. */
  readonly isSynchronous: boolean
  /** Statements that create what is missing. Several processes may run them at the same time. */
  readonly migration: readonly Statement[]
  /** Adds a row, unless one with the same chat and key waits already. */
  add (chatId: string, event: string, key: string): Statement
  /** Takes the lease, or extends it. Returns a row if this owner has it now, for `ms` milliseconds. */
  claim (owner: string, ms: number): Statement
  release (owner: string): Statement
  /**
   * The first rows that wait, in the order of their commits in each chat: at most `limit` rows, and about `bytes` bytes
   * of JSON unless the page is a single row. Rows of the chats in `except` are left out.
   */
  waiting (limit: number, bytes: number, except: readonly string[]): Statement
  remove (ids: readonly string[]): Statement
  setAside (id: string, error: string): Statement
  /** One row: `waiting` and `aside` are numbers of rows, counted up to `most`; `age` is seconds, or null. */
  stats (most: number): Statement
}
