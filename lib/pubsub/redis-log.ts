import { parseCursor, type Cursor } from '../cursor.ts'
import { timing } from '../options.ts'
import { decodePayload, encodeField, encodePayload } from './envelope.ts'
import { newEpoch, randomTag } from './epoch.ts'
import type { Envelope, EventLog, LogGap, LogPage, Logged, LogTop } from './provider.ts'
import { cork } from './redis-cork.ts'
import type { RedisKeys } from './redis-keys.ts'
import type { Command } from './redis-publisher.ts'
import type { RedisReader } from './redis-reader.ts'
import { RedisScript } from './redis-script.ts'
import { parseStamp, type Conclusion } from './state-store.ts'

export interface RedisLogOptions {
  keys: RedisKeys
  /** Events to keep of each channel. */
  size: number
  /** Milliseconds to keep them after the last one. */
  ttlMs: number
  /** Milliseconds to remember an idempotency key. */
  idempotencyTtlMs: number
  reader: RedisReader
  /** Whether to broadcast to the shard's own channel. */
  sharded: boolean
}

/** What appending came to: the event's id, whether it had been appended before, why it could not be broadcast. */
export interface Appended { id: string, duplicate: boolean, trouble: string }

/** What a publish of this instance waits for. */
interface Predecessor { key: string, underway: boolean }

type Send<T> = (command: Command<T>) => Promise<T>

const append = new RedisScript('append')
const conclude = new RedisScript('state', 'conclude', 'append')
const read = new RedisScript('read')

/** The log in Redis. All that is done to it is done by scripts, each in one step: see lua/. */
export class RedisLog implements EventLog {
  readonly #options: RedisLogOptions
  /** The last publish of each channel that has not settled. */
  readonly #last = new Map<string, Predecessor>()

  constructor (options: RedisLogOptions) {
    this.#options = options
  }

  /** Appends an event and broadcasts it, once, however often `send` sends it, and never before what was appended to this channel before. */
  async append (channel: string, envelope: Envelope, key: string, send: Send<Appended>): Promise<Appended> {
    return await this.#inOrder(channel, key, (before) => send(this.#appending(channel, envelope, key, before)))
  }

  /** Appends an event in the place of a text, as `append` does, or resolves with the state's epoch where there is no such text. */
  async conclude (channel: string, envelope: Envelope, { field, owner = '', idempotencyKey }: Conclusion, send: Send<Appended | { epoch: string }>): Promise<Appended | { epoch: string }> {
    const { keys, ttlMs } = this.#options
    const { fields, leases } = keys.of(channel)
    const more = {
      script: conclude,
      names: [fields, leases],
      values: [encodeField(field), owner, newEpoch(), ttlMs + timing.stateExtra, timing.stateLease]
    }
    return await this.#inOrder(channel, idempotencyKey, (before) => send(this.#appending(channel, envelope, idempotencyKey, before, more)))
  }

  async #inOrder<T> (channel: string, key: string, publish: (before: Predecessor | undefined) => Promise<T>): Promise<T> {
    const before = this.#last.get(channel)
    const own = { key, underway: true }
    this.#last.set(channel, own)
    try {
      return await publish(before)
    } finally {
      own.underway = false
      if (this.#last.get(channel) === own) this.#last.delete(channel)
    }
  }

  #appending (channel: string, envelope: Envelope, key: string, before: Predecessor | undefined): Command<Appended>
  #appending (channel: string, envelope: Envelope, key: string, before: Predecessor | undefined, more: More): Command<Appended | { epoch: string }>
  #appending (channel: string, envelope: Envelope, key: string, before: Predecessor | undefined, more: More = { script: append, names: [], values: [] }): Command<Appended | { epoch: string }> {
    const { keys, size, ttlMs, idempotencyTtlMs, sharded } = this.#options
    const fence = `${envelope.from} ${envelope.timestamp} fence {}`
    const { channel: redisChannel, meta, stream, idempotency } = keys.of(channel)
    const names = [meta, stream, idempotency + key, ...more.names]
    const tag = randomTag()
    const values = [
      redisChannel, encodePayload(envelope), tag, randomTag(), fence, newEpoch(), size, ttlMs, ttlMs + timing.metaExtra, idempotencyTtlMs,
      sharded ? 'SPUBLISH' : 'PUBLISH', ...more.values
    ]
    return async (client, isCold) => {
      const all = before?.underway ? [...names, idempotency + before.key] : names
      const [id, known, trouble] = await more.script.run(client, all, values, isCold(more.script)) as [Buffer, number, Buffer]
      if (known === 2) return { epoch: trouble.toString() }
      // With this very tag it was appended by an earlier sending, whose reply was lost.
      const duplicate = known === 1 && !id.toString().endsWith(`-${tag}`)
      return { id: id.toString(), duplicate, trouble: trouble.toString() }
    }
  }

  async read (channel: string, after: Cursor | undefined, limit: number): Promise<LogPage> {
    const { keys, ttlMs } = this.#options
    const values = [limit, newEpoch(), ttlMs + timing.metaExtra, ...after === undefined ? [] : [after.epoch, after.offset, after.tag]]
    const { meta, stream } = keys.of(channel)
    const reply = await this.#options.reader.run(read, [meta, stream], values)
    const [epoch, offset, tag, gap, rows, state] = reply as [Buffer, Buffer, Buffer, Buffer, [Buffer, Buffer[]][], Buffer]
    const top = topOf({ epoch: epoch.toString(), offset: Number(offset), tag: Number(tag) }, state.toString())
    const decoded = rows.map(([id, fields]) => entryOf(top.epoch, id, fields))
    // Without a cursor Redis gives the last ones, the last of them first.
    if (after === undefined) return { top, entries: decoded.filter((entry) => entry !== undefined).reverse() }
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
      const asked = channels.map((channel) => client.hmget(keys.of(channel).meta, 'e', 'o', 't', 'se', 'sv'))
      uncork()
      return Promise.all(asked)
    })
    return metas.map(([epoch, offset, tag, stateEpoch, version]) => {
      const cursor = parseCursor(`${epoch}-${offset}-${tag}`)
      return cursor && topOf(cursor, `${stateEpoch}-${version}`)
    })
  }
}

/** What conclude.lua needs beyond what append.lua does. */
interface More { script: RedisScript, names: string[], values: (string | number)[] }

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
