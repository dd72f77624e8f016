import { randomBytes } from 'node:crypto'
import { RealtimeError } from '../errors.ts'
import { encodeField, encodePayload } from './envelope.ts'
import { newEpoch, randomTag } from './epoch.ts'
import type { Envelope } from './provider.ts'
import { describeRedisError } from './redis-connection.ts'
import type { RedisKeys } from './redis-keys.ts'
import type { Command } from './redis-publisher.ts'
import type { RedisScript, RedisScripts } from './redis-script.ts'
import type { Conclusion } from './state-store.ts'

export interface RedisAppenderOptions {
  keys: RedisKeys
  scripts: RedisScripts
  /** Whether Redis takes no script that touches several channels, as a Cluster. */
  apart: boolean
  /** Sends a command, as often as it takes. */
  send<T> (command: Command<T>): Promise<T>
}

/** What appending came to: the event's id, whether it had been appended before, why it could not be broadcast. */
export interface Appended { id: string, duplicate: boolean, trouble: string }

/** What concluding comes to where there is no such text: the epoch of the state. */
export interface Missing { epoch: string }

/** An event that is to be appended. */
interface Entry {
  channel: string
  payload: string
  tag: number
  /** The idempotency key, if the app gave one. */
  key: string | undefined
  resolve (appended: Appended | Missing): void
  reject (error: Error): void
}

/** The events of one channel in a batch. */
interface Run {
  channel: string
  entries: Entry[]
  batch: Batch
  /** The one before it on its channel, unless all before it are known to have settled. */
  before: Run | undefined
}

/** What is appended in one step, or not at all. */
interface Batch {
  /** By which Redis remembers it. */
  name: string
  underway: boolean
}

/** Why something could not be broadcast, the ids, and why some were refused; or nothing but the epoch of a state. */
type Reply = [troubleOrEpoch: Buffer, ids?: Buffer, ...refusals: Buffer[]]

/** How many events a batch has at most, and how many characters before the last: so long Redis does nothing else. */
const MOST = 64
const MOST_CHARACTERS = 262_144

/**
 * Appends events to the logs in Redis, each once, and those of a channel in the order they came. One that comes alone is sent at once. While others are under way,
 * those of one turn go as a batch: a script costs Redis, and ioredis, much more than one more event in it.
 */
export class RedisAppender {
  readonly #options: RedisAppenderOptions
  /** What the names of batches start with. Not `instanceId`: an app may give the same again after a restart, while the names are still known. */
  readonly #base = randomBytes(12).toString('base64url')
  #apart: boolean
  #batches = 0
  #underway = 0
  #gathered: Entry[] = []
  #characters = 0
  #turn: NodeJS.Immediate | undefined
  /** The last of each channel, while it or one before it is under way. */
  readonly #last = new Map<string, Run>()

  constructor (options: RedisAppenderOptions) {
    this.#options = options
    this.#apart = options.apart
  }

  /** Appends an event and broadcasts it. */
  append (channel: string, envelope: Envelope, key: string | undefined): Promise<Appended> {
    return new Promise<Appended | Missing>((resolve, reject) => {
      const entry = { channel, payload: encodePayload(envelope), tag: randomTag(), key, resolve, reject }
      this.#gathered.push(entry)
      this.#characters += entry.payload.length
      if (this.#underway === 0 || this.#gathered.length === MOST || this.#characters >= MOST_CHARACTERS) this.flush()
      else this.#turn ??= setImmediate(() => this.flush())
    }) as Promise<Appended>
  }

  /** Appends an event in the place of a text, or resolves with the state's epoch where there is no such text. */
  conclude (channel: string, envelope: Envelope, { field, owner = '', idempotencyKey }: Conclusion): Promise<Appended | Missing> {
    this.flush()
    const { keys, scripts } = this.#options
    const names = keys.of(channel)
    return new Promise((resolve, reject) => {
      const entry = { channel, payload: encodePayload(envelope), tag: randomTag(), key: idempotencyKey, resolve, reject }
      this.#send([this.#enqueue(channel, [entry])], scripts.conclude,
        [names.meta, names.stream, names.idempotency + idempotencyKey, names.fields, names.leases],
        [names.channel, entry.tag, entry.payload, encodeField(field), owner, newEpoch()])
    })
  }

  /** Sends what was gathered, before anything else is sent. */
  flush (): void {
    if (this.#gathered.length === 0) return
    clearImmediate(this.#turn)
    this.#turn = undefined
    const channels = new Map<string, Entry[]>()
    for (const entry of this.#gathered) {
      const entries = channels.get(entry.channel)
      if (entries === undefined) channels.set(entry.channel, [entry])
      else entries.push(entry)
    }
    this.#gathered = []
    this.#characters = 0
    const runs = Array.from(channels, ([channel, entries]) => this.#enqueue(channel, entries))
    if (this.#apart) this.#appendApart(runs)
    else this.#append(runs)
  }

  #enqueue (channel: string, entries: Entry[]): Run {
    const run = { channel, entries, batch: UNSENT, before: this.#last.get(channel) }
    this.#last.set(channel, run)
    return run
  }

  #append (runs: Run[]): void {
    const { keys, scripts } = this.#options
    const names: string[] = []
    const values: (string | number)[] = []
    for (const { channel, entries } of runs) {
      const { channel: redisChannel, meta, stream, idempotency } = keys.of(channel)
      names.push(meta, stream)
      values.push(redisChannel, entries.map(({ key }) => key === undefined ? '-' : 'k').join(''))
      for (const { tag, payload, key } of entries) {
        if (key !== undefined) names.push(idempotency + key)
        values.push(tag, payload)
      }
    }
    this.#send(runs, scripts.append, names, values)
  }

  #appendApart (runs: Run[]): void {
    for (const run of runs) this.#append([run])
  }

  /** Sends a batch. The names and values come behind those that log.lua takes. */
  #send (runs: Run[], script: RedisScript, names: string[], values: (string | number)[]): void {
    const name = `${this.#options.keys.of((runs[0] as Run).channel).idempotency}${this.#base}-${++this.#batches}`
    const batch = { name, underway: true }
    for (const run of runs) run.batch = batch
    this.#underway++
    const epoch = newEpoch()
    this.#options.send(async (client, isCold) => {
      const before = namesBefore(runs)
      try {
        return await script.run(client, [name, ...before, ...names], [epoch, before.size, ...values], isCold(script)) as Reply
      } catch (error) {
        // A server with slots, behind a client that knows of none.
        if ((error as Error).message.startsWith('CROSSSLOT ')) return undefined
        throw error
      }
    }).then((reply) => {
      this.#underway--
      if (reply !== undefined) {
        this.#end(runs, true)
        return settle(runs, reply)
      }
      this.#apart = true
      if (runs.length > 1) this.#appendApart(runs)
      else this.#send(runs, script, names, values)
    }, (error: Error) => {
      this.#underway--
      this.#end(runs, false)
      for (const { entries } of runs) for (const { reject } of entries) reject(error)
    })
  }

  /** Takes note that the batch of these is not under way any more. If it was done, so were those before it. */
  #end (runs: Run[], done: boolean): void {
    for (const run of runs) {
      run.batch.underway = false
      const before = run.before = done ? undefined : underwayBefore(run)
      if (this.#last.get(run.channel) !== run) continue
      if (before === undefined) this.#last.delete(run.channel)
      else this.#last.set(run.channel, before)
    }
  }
}

/** A batch that does not exist: of events that were not sent. */
const UNSENT: Batch = { name: '', underway: false }

function underwayBefore ({ before }: Run): Run | undefined {
  while (before?.batch.underway === false) before = before.before
  return before
}

/** The names of the batches that have to be done before these. */
function namesBefore (runs: Run[]): Set<string> {
  const names = new Set<string>()
  for (const run of runs) {
    const before = underwayBefore(run)
    if (before !== undefined) names.add(before.batch.name)
  }
  return names
}

function settle (runs: Run[], [first, all, ...refusals]: Reply): void {
  const ids = all?.toString().split(' ')
  const trouble = first.toString()
  for (const { entries } of runs) {
    for (const { key, tag, resolve, reject } of entries) {
      const id = ids?.shift()
      if (id === undefined) resolve({ epoch: trouble })
      else if (id === '-') reject(refused(refusals.shift()))
      // With this very tag it was appended by an earlier sending, whose reply was lost.
      else resolve({ id, duplicate: key !== undefined && !id.endsWith(`-${tag}`), trouble })
    }
  }
}

/** Of an earlier sending it is only known that it was refused. */
function refused (reason: Buffer | undefined): RealtimeError {
  return new RealtimeError('RT_PUBLISH_REJECTED', `Redis said ${describeRedisError(new Error(reason?.toString() ?? 'no'))}`)
}
