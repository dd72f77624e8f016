import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Cluster, Redis } from 'ioredis'
import { RealtimeError } from '../errors.ts'
import { parseCursor, type Cursor } from '../cursor.ts'
import { timing } from '../options.ts'
import { within } from '../within.ts'
import { decodePayload, encodePayload } from './envelope.ts'
import { randomTag } from './local-log.ts'
import type { Envelope, EventLog, LogGap, LogPage, Logged } from './provider.ts'
import { describeRedisError } from './redis-connection.ts'
import type { RedisKeys } from './redis-keys.ts'
import type { Command } from './redis-publisher.ts'

export interface RedisLogOptions {
  keys: RedisKeys
  /** Events to keep of each channel. */
  size: number
  /** Milliseconds to keep them after the last one. */
  ttlMs: number
  /** Milliseconds to remember an idempotency key. */
  idempotencyTtlMs: number
  /** Milliseconds until a read without an answer rejects. */
  timeoutMs: number
  /** Whether to broadcast to the shard's own channel. */
  sharded: boolean
}

/** What appending came to: the event's id, whether it had been appended before, why it could not be broadcast. */
export interface Appended { id: string, duplicate: boolean, trouble: string }

/** What a publish of this instance waits for. */
interface Predecessor { key: string, underway: boolean }

type Argument = string | number | Buffer

const append = load('append')
const read = load('read')

/** The log in Redis. All that is done to it is done by two scripts, each in one step: see lua/. */
export class RedisLog implements EventLog {
  readonly #client: Redis | Cluster
  readonly #options: RedisLogOptions
  /** The last publish of each channel that has not settled. */
  readonly #last = new Map<string, Predecessor>()
  #connected: Promise<void> | undefined
  /** Whether Redis knew the script that reads when it was last asked. */
  #warm = false

  constructor (client: Redis | Cluster, options: RedisLogOptions) {
    this.#client = client
    this.#options = options
  }

  /** Appends an event and broadcasts it, once, however often `send` sends it, and never before what was appended to this channel before. */
  async append (channel: string, envelope: Envelope, key: string, send: (command: Command<Appended>) => Promise<Appended>): Promise<Appended> {
    const before = this.#last.get(channel)
    const own = { key, underway: true }
    this.#last.set(channel, own)
    try {
      return await send(this.#appending(channel, envelope, key, before))
    } finally {
      own.underway = false
      if (this.#last.get(channel) === own) this.#last.delete(channel)
    }
  }

  #appending (channel: string, envelope: Envelope, key: string, before: Predecessor | undefined): Command<Appended> {
    const { keys, size, ttlMs, idempotencyTtlMs, sharded } = this.#options
    const fence = encodePayload({ ...envelope, event: 'fence', json: Buffer.from('{}') })
    const names = [keys.meta(channel), keys.stream(channel), keys.idempotency(channel, key)]
    const tag = randomTag()
    const values = [
      keys.channel(channel), encodePayload(envelope), tag, randomTag(), fence, newEpoch(), size, ttlMs, ttlMs + timing.metaExtra, idempotencyTtlMs,
      sharded ? 'SPUBLISH' : 'PUBLISH'
    ]
    return async (client, cold) => {
      const all = before?.underway ? [...names, keys.idempotency(channel, before.key)] : names
      const [id, known, trouble] = await run(client, append, all, values, cold) as [Buffer, number, Buffer]
      // With this very tag it was appended by an earlier sending, whose reply was lost.
      const duplicate = known === 1 && !id.toString().endsWith(`-${tag}`)
      return { id: id.toString(), duplicate, trouble: trouble.toString() }
    }
  }

  async read (channel: string, after: Cursor | undefined, limit: number): Promise<LogPage> {
    const { keys, ttlMs } = this.#options
    const values = [limit, newEpoch(), ttlMs + timing.metaExtra, ...after === undefined ? [] : [after.epoch, after.offset, after.tag]]
    const names = [keys.meta(channel), keys.stream(channel)]
    const reply = await this.#ask(() => run(this.#client, read, names, values, !this.#warm).catch((error: Error) => {
      if (!error.message.startsWith('NOSCRIPT')) throw error
      return run(this.#client, read, names, values, true)
    }))
    this.#warm = true
    const [epoch, offset, tag, gap, rows] = reply as [Buffer, Buffer, Buffer, Buffer, [Buffer, Buffer[]][]]
    const top = { epoch: epoch.toString(), offset: Number(offset), tag: Number(tag) }
    const decoded = rows.map(([id, fields]) => entryOf(top.epoch, id, fields))
    // Without a cursor Redis gives the last ones, the last of them first.
    if (after === undefined) return { top, entries: decoded.filter((entry) => entry !== undefined).reverse() }
    const hole = decoded.indexOf(undefined)
    // Such as one of a newer version. Who waits for it would wait for ever.
    if (hole === 0) return { top, gap: 'diverged', entries: [] }
    const entries = (hole === -1 ? decoded : decoded.slice(0, hole)) as Logged[] // All before the first hole.
    return { top, gap: gap.length === 0 ? undefined : gap.toString() as LogGap, entries }
  }

  async tops (channels: string[]): Promise<(Cursor | undefined)[]> {
    const metas = await this.#ask(() => Promise.all(channels.map((channel) => this.#client.hmget(this.#options.keys.meta(channel), 'e', 'o', 't'))))
    return metas.map(([epoch, offset, tag]) => parseCursor(`${epoch}-${offset}-${tag}`))
  }

  async #ask<T> (question: () => Promise<T>): Promise<T> {
    const { timeoutMs } = this.#options
    try {
      // Where there is a connection, it is asked in this very turn: what is published in the next comes after.
      if (this.#client.status !== 'ready') await within(this.#connect(), timeoutMs)
      return await within(question(), timeoutMs)
    } catch (error) {
      // Whatever ioredis rejects with is an Error.
      throw new RealtimeError('RT_LOG_UNAVAILABLE', describeRedisError(error as Error))
    }
  }

  /** Resolves once there is a connection: the one that subscribes may be back first, and then everyone reads. */
  async #connect (): Promise<void> {
    this.#connected ??= new Promise<void>((resolve) => { this.#client.once('ready', resolve) }).finally(() => { this.#connected = undefined })
    await this.#connected
  }
}

interface Script { lua: string, sha: string }

function load (name: string): Script {
  const lua = readFileSync(new URL(`lua/${name}.lua`, import.meta.url), 'utf8')
  return { lua, sha: createHash('sha1').update(lua).digest('hex') }
}

function run (client: Redis | Cluster, { lua, sha }: Script, names: string[], values: Argument[], cold: boolean): Promise<unknown> {
  return client.callBuffer(cold ? 'EVAL' : 'EVALSHA', cold ? lua : sha, names.length, ...names, ...values)
}

function entryOf (epoch: string, id: Buffer, fields: Buffer[]): Logged | undefined {
  const values = new Map<string, Buffer>()
  for (let at = 0; at + 1 < fields.length; at += 2) values.set(String(fields[at]), fields[at + 1] as Buffer)
  const cursor = parseCursor(`${epoch}-${id.toString()}`)
  const envelope = decodePayload(values.get('d') ?? Buffer.alloc(0))
  if (cursor === undefined || envelope === undefined) return undefined
  return { ...envelope, position: { ...cursor, previousTag: Number(values.get('p')), fence: values.get('k')?.toString() === 'f' } }
}

function newEpoch (): string {
  return randomBytes(8).toString('hex')
}
