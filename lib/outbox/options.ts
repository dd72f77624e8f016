import { bytes, callable, count, milliseconds, option, text } from '../core/option-kinds.ts'
import type { OptionsFrom, ValuesFrom } from '../core/options.ts'
import { RealtimeError, kindOf } from '../errors.ts'

/**
 * Runs a statement and returns its rows, or an empty array if it has none. The parameters are `$1`, `$2`, … in
 * PostgreSQL and `?` in SQLite. For PostgreSQL it returns a promise. For SQLite it returns the rows themselves, and
 * throws, since transactions there are synchronous.
 */
export type Query = (sql: string, params: unknown[]) => readonly object[] | Promise<readonly object[]>

/**
 * Listens on a channel of PostgreSQL and calls `onNotify` at each notification. Returns a function that stops, or a
 * promise of it. It either reconnects by itself and then calls `onNotify` once, or calls `onLost` when its connection
 * has ended: then the relay polls, and listens again after a delay. If it rejects, it must have closed its connection.
 */
export type Listen = (
  channel: string, onNotify: () => void, onLost: () => void
) => (() => unknown) | Promise<() => unknown>

/** The database of an outbox. */
export type DialectName = 'postgres' | 'sqlite'

const DAY_MS = 86_400_000

/** The options of `createOutbox`. */
export const outboxOptions = {
  /**
   * Runs the statements of the relay, each on any connection, such as one of a pool. Needed.
   * @default none
   */
  query: callable<Query>({ scope: 'app' }),
  /**
   * Listens to notifications of PostgreSQL, so that a committed row is published at once. Without it, the relay polls.
   * @default none
   */
  listen: callable<Listen>({ scope: 'app' }),
  /**
   * The database: `postgres` or `sqlite`. Needed.
   * @default none
   */
  dialect: option<DialectName, DialectName>({
    scope: 'app',
    check (name, given) {
      if (given === 'postgres' || given === 'sqlite') return given
      const got = typeof given === 'string' ? 'another string' : kindOf(given)
      throw new RealtimeError('RT_OPTION_INVALID', `Expected \`${name}\` to be postgres or sqlite, got ${got}`)
    }
  }),
  /**
   * The name of the table, which may begin with a schema, such as `app.outbox`. A second table of this name and
   * `_lease` holds the lease of the relay.
   * @default 'realtime_outbox'
   */
  table: text({
    default: 'realtime_outbox',
    form: /^([A-Za-z_]\w{0,47}\.)?[A-Za-z_]\w{0,47}$/,
    expected: 'a name of up to 48 letters, digits or _, with or without a schema',
    scope: 'app'
  }),
  /**
   * Milliseconds after which the relay reads new rows if nothing has woken it.
   * @default 250, or 1_000 with `listen`
   */
  pollMs: milliseconds({ from: 10, scope: 'app' }),
  /**
   * Milliseconds after which another relay takes over from one that has crashed.
   * @default 5_000
   */
  leaseMs: milliseconds({ default: 5_000, from: 500, scope: 'app' }),
  /**
   * Milliseconds for which Redis remembers that a row was published. A relay that dies between publishing a row and
   * deleting it, and restarts within this time, publishes it once. At least a day. See docs/outbox.md for its memory.
   * @default 172_800_000
   */
  keyTtlMs: milliseconds({ default: 2 * DAY_MS, from: DAY_MS, scope: 'app' }),
  /**
   * Maximum bytes of JSON of one event. Use the same value as for the plugin.
   * @default 65_536
   */
  maxPayloadBytes: bytes({ default: 65_536, from: 1, scope: 'app' }),
  /**
   * Maximum number of rows that the relay reads at once.
   * @default 256
   */
  batchSize: count({ default: 256, from: 1, to: 10_000, scope: 'app' }),
  /**
   * Milliseconds after which a statement of the relay counts as failed.
   * @default 10_000
   */
  queryTimeoutMs: milliseconds({ default: 10_000, from: 100, scope: 'app' })
}

/** Options of `createOutbox`. */
export interface OutboxOptions extends OptionsFrom<typeof outboxOptions> {
  query: Query
  dialect: DialectName
}

/** `OutboxOptions` with the defaults. */
export type OutboxValues = ValuesFrom<typeof outboxOptions> & Pick<OutboxOptions, 'query' | 'dialect'>
