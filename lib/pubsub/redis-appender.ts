import { randomBytes } from 'node:crypto'
import { RealtimeError } from '../errors.ts'
import { encodeField, encodePayload } from './envelope.ts'
import { newEpoch, randomTag } from './epoch.ts'
import type { Envelope, PublishReceipt } from './provider.ts'
import { describeRedisError } from './redis-connection.ts'
import { encodeKey, type ChannelKeys, type RedisKeys } from './redis-keys.ts'
import type { Task } from './redis-publisher.ts'
import type { RedisScript, RedisScripts } from './redis-script.ts'
import type { Conclusion } from './state-store.ts'

export interface RedisAppenderOptions {
  keys: RedisKeys
  scripts: RedisScripts
  /** Whether Redis takes no script that touches several channels, as a Cluster. */
  apart: boolean
  /** Sends a command as often as it takes. */
  perform<T> (task: Task<T>): void
  /** Is told why something that is in the log could not be broadcast. */
  onUnheard (error: Error): void
}

/** What concluding comes to where there is no such text: the epoch of the state. */
export interface Missing { epoch: string }

/** An event that is to be appended. */
interface Entry {
  payload: string
  tag: string
  /** The idempotency key, if the app gave one. */
  key: string | undefined
  resolve (receipt: PublishReceipt | Missing): void
  reject (error: Error): void
}

/** The events of one channel in a batch. */
interface Run {
  names: ChannelKeys
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

/** Why something could not be broadcast, what came of each event, and why some were refused: see lua/log.lua. */
type Reply = [trouble: Buffer, outcomes: Buffer, ...refusals: Buffer[]]

/** The outcome of a batch that has to be sent in parts. */
const APART = Symbol('apart')

/** How many events a batch has at most, and how many characters before the last: so long Redis does nothing else. */
const MOST_EVENTS = 64
const MOST_CHARACTERS = 262_144

/** So few channels may have ended before any is forgotten. */
const FEW = 64

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
  #gathered: Run[] = []
  #entries = 0
  #characters = 0
  #turn: NodeJS.Immediate | undefined
  /** The last of each channel, and some that have ended: a Map costs much where each comes and goes by itself. */
  readonly #last = new Map<string, Run>()
  #sweepAt = FEW

  constructor (options: RedisAppenderOptions) {
    this.#options = options
    this.#apart = options.apart
  }

  /** Appends an event and broadcasts it. */
  append (channel: string, envelope: Envelope, key: string | undefined): Promise<PublishReceipt> {
    return new Promise<PublishReceipt | Missing>((resolve, reject) => {
      const entry = { payload: encodePayload(envelope), tag: String(randomTag()), key, resolve, reject }
      const last = this.#last.get(channel)
      if (this.#underway === 0 && this.#entries === 0) return this.#append([this.#enqueue(channel, entry, last)])
      if (last?.batch === GATHERED) last.entries.push(entry)
      else this.#gathered.push(this.#enqueue(channel, entry, last))
      this.#entries++
      this.#characters += entry.payload.length
      if (this.#underway === 0 || this.#entries === MOST_EVENTS || this.#characters >= MOST_CHARACTERS) this.flush()
      else this.#turn ??= setImmediate(() => this.flush())
    }) as Promise<PublishReceipt>
  }

  /** Appends an event in the place of a text, or resolves with the state's epoch where there is no such text. */
  conclude (channel: string, envelope: Envelope, { field, owner = '', key }: Conclusion): Promise<PublishReceipt | Missing> {
    this.flush()
    return new Promise((resolve, reject) => {
      const entry = { payload: encodePayload(envelope), tag: String(randomTag()), key, resolve, reject }
      const run = this.#enqueue(channel, entry, this.#last.get(channel))
      const { channel: redisChannel, meta, stream, conclusion, fields, leases } = run.names
      this.#send([run], this.#options.scripts.conclude,
        [this.#nextName(run), meta, stream, conclusion + encodeKey(key), fields, leases],
        [newEpoch(), '0', redisChannel, entry.tag, entry.payload, encodeField(field), owner, newEpoch()])
    })
  }

  /** Sends what was gathered, before anything else is sent. */
  flush (): void {
    if (this.#gathered.length === 0) return
    clearImmediate(this.#turn)
    this.#turn = undefined
    const runs = this.#gathered
    this.#gathered = []
    this.#entries = this.#characters = 0
    if (this.#apart) this.#appendApart(runs)
    else this.#append(runs)
  }

  #enqueue (channel: string, entry: Entry, before: Run | undefined): Run {
    const run = { names: before?.names ?? this.#options.keys.of(channel), entries: [entry], batch: GATHERED, before }
    this.#last.set(channel, run)
    return run
  }

  #append (runs: Run[]): void {
    const names = [this.#nextName(runs[0] as Run)]
    const values = [newEpoch(), '0']
    for (const { names: { channel, meta, stream, idempotency }, entries } of runs) {
      names.push(meta, stream)
      values.push(channel, kindsOf(entries))
      for (const { tag, payload, key } of entries) {
        if (key !== undefined) names.push(idempotency + encodeKey(key))
        values.push(tag, payload)
      }
    }
    this.#send(runs, this.#options.scripts.append, names, values)
  }

  #appendApart (runs: Run[]): void {
    for (const run of runs) this.#append([run])
  }

  #nextName ({ names: { batch } }: Run): string {
    return `${batch}${this.#base}-${++this.#batches}`
  }

  /** Sends a batch. Its name, an epoch and the count of those before it stand first: see lua/log.lua. */
  #send (runs: Run[], script: RedisScript, names: string[], values: string[]): void {
    const batch = { name: names[0] as string, underway: true }
    for (const run of runs) run.batch = batch
    this.#underway++
    let before: string[] = []
    this.#options.perform<Reply | typeof APART>({
      repeatable: true,
      command: (client, isCold) => {
        before = namesBefore(runs)
        values[1] = String(before.length)
        return script.run(client, before.length === 0 ? names : names.concat(before), values, isCold(script)) as Promise<Reply>
      },
      instead: ({ message }) => {
        // A server with slots, behind a client that knows of none.
        if (message.startsWith('CROSSSLOT ') && runs.length + before.length > 1) this.#apart = true
        // It need not be for all that the user has no rights.
        else if (!message.startsWith('NOPERM ') || runs.length === 1) return undefined
        return APART
      },
      resolve: (reply) => {
        this.#underway--
        if (reply !== APART) this.#settle(runs, reply)
        else if (runs.length > 1) this.#appendApart(runs)
        else this.#send(runs, script, names, values)
      },
      reject: (error) => {
        this.#underway--
        for (const { entries } of runs) for (const { reject } of entries) reject(error.again())
        this.#end(runs, false)
      }
    })
  }

  #settle (runs: Run[], [trouble, outcomes, ...refusals]: Reply): void {
    const all = outcomes.toString('latin1')
    const each = all.includes(' ') ? all.split(' ') : [all]
    let n = 0
    for (const { entries } of runs) {
      for (const { tag, resolve, reject } of entries) {
        const outcome = each[n++] as string
        if (outcome === '-') reject(refused(refusals.shift()))
        else if (outcome.startsWith('!')) resolve({ epoch: outcome.slice(1) })
        // With this very tag it was appended by an earlier sending, whose reply was lost.
        else resolve({ id: outcome, duplicate: !outcome.endsWith(`-${tag}`) })
      }
    }
    this.#end(runs, true)
    if (trouble.length > 0) this.#options.onUnheard(new Error(trouble.toString()))
  }

  /** Takes note that the batch of these is not under way any more. If it was done, so were those before it. */
  #end (runs: Run[], done: boolean): void {
    for (const run of runs) {
      run.batch.underway = false
      run.entries = NONE
      run.before = done ? undefined : underwayBefore(run)
    }
    if (this.#last.size >= (this.#underway === 0 ? FEW : this.#sweepAt)) this.#sweep()
  }

  #sweep (): void {
    for (const [channel, run] of this.#last) {
      if (!run.batch.underway && underwayBefore(run) === undefined) this.#last.delete(channel)
    }
    this.#sweepAt = 2 * this.#last.size + FEW
  }
}

/** The events of what has ended. */
const NONE: Entry[] = []

/** The batch of what was not sent yet. */
const GATHERED: Batch = { name: '', underway: true }

/** What lua/append.lua is told of each: whether it has a key. */
function kindsOf (entries: Entry[]): string {
  let kinds = ''
  for (const { key } of entries) kinds += key === undefined ? '-' : 'k'
  return kinds
}

function underwayBefore ({ before }: Run): Run | undefined {
  while (before?.batch.underway === false) before = before.before
  return before
}

/** The names of the batches that have to be done before these. */
function namesBefore (runs: Run[]): string[] {
  const names: string[] = []
  for (const run of runs) {
    const before = underwayBefore(run)
    if (before !== undefined && !names.includes(before.batch.name)) names.push(before.batch.name)
  }
  return names
}

/** Where the reply was lost, so were the words. */
function refused (words: Buffer | undefined): RealtimeError {
  return new RealtimeError('RT_PUBLISH_REJECTED', words === undefined ? 'Redis refused it' : `Redis said ${describeRedisError(new Error(words.toString()))}`)
}
