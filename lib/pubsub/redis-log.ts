import { parseCursor, type Cursor } from '../cursor.ts'
import { budgets } from '../options.ts'
import { decodePayload } from './envelope.ts'
import { newEpoch } from './epoch.ts'
import type { EventLog, LogGap, LogPage, Logged, LogTop } from './provider.ts'
import { cork } from './redis-cork.ts'
import type { RedisKeys } from './redis-keys.ts'
import type { RedisReader } from './redis-reader.ts'
import type { RedisScripts } from './redis-script.ts'
import { parseStamp } from './state-store.ts'

export interface RedisLogOptions {
  keys: RedisKeys
  scripts: RedisScripts
  reader: RedisReader
}

/** What lua/read.lua returns. */
type Reply = [epoch: Buffer, last: Buffer, gap: Buffer, rows: [Buffer, Buffer[]][], state: Buffer, start: Buffer]

/** Reads the log in Redis, which `RedisAppender` writes. */
export class RedisLog implements EventLog {
  readonly #options: RedisLogOptions

  constructor (options: RedisLogOptions) {
    this.#options = options
  }

  async read (channel: string, after: Cursor | undefined, limit: number, maxBytes = budgets.page): Promise<LogPage> {
    const { keys, reader, scripts } = this.#options
    const bytes = Math.min(maxBytes, budgets.page)
    const values = [limit, newEpoch(), bytes, ...after === undefined ? [] : [after.epoch, after.offset, after.tag]]
    const { meta, stream } = keys.of(channel)
    const reply = await reader.run(scripts.read, [meta, stream], values)
    const [epoch, last, gap, rows, state, start] = reply as Reply
    const top = topOf(parseCursor(`${epoch.toString()}-${last.toString()}`) as Cursor, state.toString())
    const decoded = rows.map(([id, fields]) => entryOf(top.epoch, id, fields))
    if (after === undefined) {
      // Redis gives the last one first.
      const entries = decoded.filter((entry) => entry !== undefined).reverse()
      return { top, entries, start: parseCursor(`${top.epoch}-${start.toString()}`) }
    }
    const hole = decoded.indexOf(undefined)
    // Such as one of a newer version. Who waits for it would wait for ever.
    if (hole === 0) return { top, gap: 'diverged', entries: [] }
    const entries = (hole === -1 ? decoded : decoded.slice(0, hole)) as Logged[] // All before the first hole.
    return { top, gap: gap.length === 0 ? undefined : gap.toString() as LogGap, entries }
  }

  async tops (channels: string[]): Promise<(LogTop | undefined)[]> {
    const { keys, reader } = this.#options
    const metas = await reader.ask((client) => {
      const uncork = cork(client)
      const asked = channels.map((channel) => client.hmget(keys.of(channel).meta, 'e', 'l', 'se', 'sv'))
      uncork()
      return Promise.all(asked)
    })
    return metas.map(([epoch, last, stateEpoch, version]) => {
      const cursor = parseCursor(`${epoch}-${last}`)
      return cursor && topOf(cursor, `${stateEpoch}-${version}`)
    })
  }
}

function topOf (cursor: Cursor, stamp: string): LogTop {
  const state = parseStamp(stamp)
  return state === undefined ? cursor : { ...cursor, state }
}

function entryOf (epoch: string, id: Buffer, fields: Buffer[]): Logged | undefined {
  const values = new Map<string, Buffer>()
  for (let at = 0; at + 1 < fields.length; at += 2) values.set(String(fields[at]), fields[at + 1] as Buffer)
  const cursor = parseCursor(`${epoch}-${id.toString()}`)
  const envelope = decodePayload(values.get('d') ?? Buffer.alloc(0))
  if (cursor === undefined || envelope === undefined) return undefined
  return { ...envelope, position: { ...cursor, previousTag: Number(values.get('p')), fence: values.get('k')?.toString() === 'f' } }
}
