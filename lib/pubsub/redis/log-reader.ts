import { parseCursor, newEpoch, randomTag, type Cursor } from '../cursor.ts'
import { BatchedReads } from './batched-reads.ts'
import type { RedisKeys } from './keys.ts'
import type { Query } from './query.ts'
import type { Scripts } from './scripts.ts'
import { parseStateVersion } from '../state-store.ts'
import { budgets } from '../../core/budgets.ts'
import type { EventLog, LogGap, LogPage, LogEntry, LogHead } from '../event-log.ts'
import { decodePayload } from '../wire.ts'

export interface LogReaderOptions {
  keys: RedisKeys
  scripts: Scripts
  /** Reads pages of events and polls heads. The logs of chats use the connection for large replies. */
  reader: Query
  /**
   * Reads pages without events (`maxBytes` is 0), on the publisher connection. Events that this process publishes later
   * come after the head of such a page.
   */
  near: Query
  /** Whether each channel needs its own script call, as in a Cluster, where all keys of a call must be in one slot. */
  apart: boolean
  /** Instance id written into discontinuity markers. */
  instanceId: string
}

/** What to read of a log: see `EventLog.read`. */
interface Range { after: Cursor | undefined, before: Cursor | undefined, limit: number, maxBytes: number }

/** The reply of lua/read.lua. */
type Reply = [
  epoch: Buffer,
  last: Buffer,
  gap: Buffer,
  rows: [Buffer, Buffer[]][],
  state: Buffer,
  start: Buffer,
  severed: number
]

/** Reads the log in Redis that `LogWriter` writes. */
export class LogReader implements EventLog {
  readonly #options: LogReaderOptions
  readonly #pages: BatchedReads
  readonly #heads: BatchedReads
  /** Reads of pages without events. Events that are published after such a read come after the head of its page. */
  readonly bounds: BatchedReads

  constructor (options: LogReaderOptions) {
    this.#options = options
    const { reader, near, scripts, apart } = options
    this.#pages = new BatchedReads(reader, scripts.read, apart)
    this.#heads = new BatchedReads(reader, scripts.heads, apart)
    this.bounds = new BatchedReads(near, scripts.read, apart)
  }

  async read (
    channel: string, after: Cursor | undefined, limit: number, maxBytes: number = budgets.page, before?: Cursor
  ): Promise<LogPage> {
    const range = { after, before, limit, maxBytes: Math.min(maxBytes, budgets.page) }
    const page = pageOf(await this.#ask(channel, range), range)
    // After a failover, acknowledged events may be missing. The marker states where, so read again after writing it.
    if (page.head.unproven !== true || !await this.#mark(channel)) return failoverOf(page, range)
    return failoverOf(pageOf(await this.#ask(channel, range), range), range)
  }

  #ask (channel: string, { after, before, limit, maxBytes }: Range): Promise<Reply> {
    const { meta, stream, fields } = this.#options.keys.of(channel)
    const args = [limit, newEpoch(), maxBytes, ...cursorArgs(after), ...cursorArgs(before)]
    return (maxBytes === 0 ? this.bounds : this.#pages).read([meta, stream, fields], args) as Promise<Reply>
  }

  /**
   * Writes the discontinuity marker, unless another reader or a publisher has already written it. Returns false if
   * Redis refuses the write, as it does when it is out of memory or is a replica.
   */
  async #mark (channel: string): Promise<boolean> {
    const { keys, reader, scripts, instanceId } = this.#options
    const { channel: redisChannel, meta, stream } = keys.of(channel)
    const refusal = await reader.attempt(
      scripts.mark,
      [meta, stream],
      [newEpoch(), redisChannel, randomTag(), `${instanceId} ${Date.now()} `]
    )
    return !(refusal instanceof Error)
  }

  async heads (channels: string[]): Promise<(LogHead | undefined)[]> {
    const { keys } = this.#options
    this.#pages.flush()
    const replies = await this.#heads.readAll(channels.map((channel) => keys.of(channel).meta))
    const heads = replies.map((reply) => parseHead(String(reply)))
    await this.#keepEmpty(channels, heads)
    return heads
  }

  /** Reads the logs that have a state but no events, which extends the expiry of their keys. */
  async #keepEmpty (channels: string[], heads: (LogHead | undefined)[]): Promise<void> {
    const range = { after: undefined, before: undefined, limit: 1, maxBytes: 1 }
    const empty = channels.filter((_, index) => heads[index]?.offset === 0 && heads[index].state !== undefined)
    await Promise.all(empty.map((channel) => this.#ask(channel, range)))
  }
}

/** Decodes the page of a reply. */
function pageOf ([epoch, last, gap, rows, state, start, severed]: Reply, { after, before }: Range): LogPage {
  const head = headOf(
    parseCursor(`${epoch.toString()}-${last.toString()}`) as Cursor,
    state.toString(),
    severed === 1
  )
  const decoded = rows.map(([id, fields]) => entryOf(head.epoch, id, fields))
  if (after === undefined && before === undefined) {
    // Redis returns the newest event first.
    const entries = decoded.filter((entry) => entry !== undefined).reverse()
    const gap = entries.length < rows.length && entries.length === 0 ? 'diverged' : undefined
    return { head, gap, entries, start: parseCursor(`${head.epoch}-${start.toString()}`) }
  }
  const hole = decoded.indexOf(undefined)
  // The event next to the cursor cannot be decoded, for example because a newer version wrote it. Waiting for it
  // would never end.
  if (hole === 0) return { head, gap: 'diverged', entries: [] }
  const entries = (hole === -1 ? decoded : decoded.slice(0, hole)) as LogEntry[] // Contains no `undefined`.
  if (after === undefined) entries.reverse()
  return { head, gap: gap.length === 0 ? undefined : gap.toString() as LogGap, entries }
}

/** Parses a head in the reply of lua/heads.lua. Returns `undefined` if there is no log. */
function parseHead (text: string): LogHead | undefined {
  const [position, ...more] = text.split(' ')
  const cursor = parseCursor(position as string) // `split` returns at least one part.
  return cursor && headOf(cursor, more[0] ?? '', more.at(-1) === 'unproven')
}

function headOf ({ epoch, offset, tag }: Cursor, version: string, unproven: boolean): LogHead {
  const head: LogHead = { epoch, offset, tag }
  const state = parseStateVersion(version)
  if (state !== undefined) head.state = state
  if (unproven) head.unproven = true
  return head
}

/** Returns the arguments of lua/read.lua for a cursor. */
function cursorArgs (cursor: Cursor | undefined): (string | number)[] {
  return cursor === undefined ? ['', '', ''] : [cursor.epoch, cursor.offset, cursor.tag]
}

/**
 * Adds the gap `failover` to a page whose log could not be marked. After a failover without a marker, the events cannot
 * be proven to follow the cursor. It says nothing about events before a cursor.
 */
function failoverOf (page: LogPage, { after, before }: Range): LogPage {
  if (page.head.unproven !== true || page.gap !== undefined || before !== undefined) return page
  return { ...page, gap: 'failover', entries: after === undefined ? page.entries : [] }
}

/** Decodes an entry of the stream. For its fields `k`, `p` and `d`, see lua/includes/log.lua. */
function entryOf (epoch: string, id: Buffer, fields: Buffer[]): LogEntry | undefined {
  const values = new Map<string, Buffer>()
  for (let at = 0; at + 1 < fields.length; at += 2) values.set(String(fields[at]), fields[at + 1] as Buffer)
  const cursor = parseCursor(`${epoch}-${id.toString()}`)
  const envelope = decodePayload(values.get('d') ?? Buffer.alloc(0))
  if (cursor === undefined || envelope === undefined) return undefined
  return {
    ...envelope,
    position: { ...cursor, previousTag: Number(values.get('p')), isMarker: values.get('k')?.toString() === 'f' }
  }
}
