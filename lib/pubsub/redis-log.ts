import { randomBytes } from 'node:crypto'
import { parseCursor, type Cursor } from '../cursor.ts'
import { decodePayload, encodeField, encodePayload } from './envelope.ts'
import { newEpoch, randomTag } from './epoch.ts'
import type { Envelope, EventLog, LogGap, LogPage, Logged, LogTop } from './provider.ts'
import { cork } from './redis-cork.ts'
import type { RedisKeys } from './redis-keys.ts'
import type { Command } from './redis-publisher.ts'
import type { RedisReader } from './redis-reader.ts'
import type { RedisScript, RedisScripts } from './redis-script.ts'
import { parseStamp, type Conclusion } from './state-store.ts'

export interface RedisLogOptions {
  keys: RedisKeys
  scripts: RedisScripts
  reader: RedisReader
}

/** What appending came to: the event's id, whether it had been appended before, why it could not be broadcast. */
export interface Appended { id: string, duplicate: boolean, trouble: string }

/** An event that this instance publishes. */
interface Publication {
  key: string
  /** Whether nobody else can have used the key. */
  own: boolean
  underway: boolean
  /** The one before it on its channel, unless all before it are known to have settled. */
  before: Publication | undefined
}

type Reply = [id: Buffer, known: number, trouble: Buffer]

type Send = (command: Command<Reply>) => Promise<Reply>

/** The log in Redis. All that is done to it is done by scripts, each in one step: see lua/. */
export class RedisLog implements EventLog {
  readonly #options: RedisLogOptions
  /** What keys of our own start with. Not `instanceId`: an app may give the same again after a restart, while the keys are still known. */
  readonly #keyBase = randomBytes(12).toString('base64url')
  #keys = 0
  /** The last of each channel, while it or one before it is under way. */
  readonly #last = new Map<string, Publication>()

  constructor (options: RedisLogOptions) {
    this.#options = options
  }

  /** Appends an event and broadcasts it, once, however often `send` sends it, and never before what was appended to this channel before. */
  append (channel: string, envelope: Envelope, key: string | undefined, send: Send): Promise<Appended> {
    return this.#append(channel, envelope, key, send, this.#options.scripts.append) as Promise<Appended>
  }

  /** Appends an event in the place of a text, as `append` does, or resolves with the state's epoch where there is no such text. */
  conclude (channel: string, envelope: Envelope, { field, owner = '', idempotencyKey }: Conclusion, send: Send): Promise<Appended | { epoch: string }> {
    const { keys, scripts } = this.#options
    const { fields, leases } = keys.of(channel)
    return this.#append(channel, envelope, idempotencyKey, send, scripts.conclude, [fields, leases], [encodeField(field), owner, newEpoch()])
  }

  /** Appends by a script, which may take more than append.lua does. */
  async #append (channel: string, envelope: Envelope, given: string | undefined, send: Send, script: RedisScript, names: string[] = [], values: string[] = []): Promise<Appended | { epoch: string }> {
    const { channel: redisChannel, meta, stream, idempotency } = this.#options.keys.of(channel)
    const key = given ?? `${this.#keyBase}-${++this.#keys}`
    const all = [meta, stream, idempotency + key, ...names]
    const tag = randomTag()
    const args = [redisChannel, encodePayload(envelope), tag, newEpoch(), ...values]
    const publication: Publication = { key, own: given === undefined, underway: true, before: this.#last.get(channel) }
    this.#last.set(channel, publication)
    try {
      const [appended, known, trouble] = await send((client, isCold) => script.run(client, [...all, ...keysBefore(publication).map((each) => idempotency + each)], args, isCold(script)) as Promise<Reply>)
      // It was not answered before those before it were through.
      publication.before = undefined
      if (known === 2) return { epoch: trouble.toString() }
      const id = appended.toString()
      // With this very tag it was appended by an earlier sending, whose reply was lost.
      const duplicate = known === 1 && !id.endsWith(`-${tag}`)
      return { id, duplicate, trouble: trouble.toString() }
    } finally {
      publication.underway = false
      // Refused, it says nothing of those before it.
      const before = publication.before = underwayBefore(publication)
      if (this.#last.get(channel) === publication) {
        if (before === undefined) this.#last.delete(channel)
        else this.#last.set(channel, before)
      }
    }
  }

  async read (channel: string, after: Cursor | undefined, limit: number): Promise<LogPage> {
    const { keys, reader, scripts } = this.#options
    const values = [limit, newEpoch(), ...after === undefined ? [] : [after.epoch, after.offset, after.tag]]
    const { meta, stream } = keys.of(channel)
    const reply = await reader.run(scripts.read, [meta, stream], values)
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

function underwayBefore ({ before }: Publication): Publication | undefined {
  while (before !== undefined && !before.underway) before = before.before
  return before
}

/** How many keys of those before it an event names at most: each costs. */
const MOST_BEFORE = 16

/** The keys that must be there before an event: one that others use, too, may have been there before its own event was. */
function keysBefore (publication: Publication): string[] {
  const keys: string[] = []
  for (let before = underwayBefore(publication); before !== undefined && keys.length < MOST_BEFORE; before = before.own ? undefined : underwayBefore(before)) keys.push(before.key)
  return keys
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
