import { randomBytes } from 'node:crypto'
import { RealtimeError } from '../../errors.ts'
import { newEpoch, randomTag } from '../epoch.ts'
import type { PublishReceipt } from '../provider.ts'
import { describeRedisError } from './connection.ts'
import { encodeKey, type ChannelKeys, type RedisKeys } from './keys.ts'
import { BYTES_EACH, type Task } from './command-queue.ts'
import type { Script, Scripts } from './scripts.ts'
import type { Finalization } from '../state-store.ts'
import type { Envelope } from '../event-log.ts'
import { encodeField, encodePayload } from '../wire.ts'

export interface LogWriterOptions {
  keys: RedisKeys
  scripts: Scripts
  /** Whether Redis takes no script that touches several channels, as a Cluster. */
  apart: boolean
  /** Sends a command as often as it takes. */
  perform<T> (task: Task<T>): void
  /** Is told why something that is in the log could not be broadcast. */
  onUnheard (error: Error): void
}

/** What finalizing comes to where there is no such text: the epoch of the state. */
export interface Missing { epoch: string }

/** An event that is to be appended. */
interface Entry {
  payload: string
  /** Under which it is sent. Each sending has its own, so that an id never names events of two branches of the log. */
  tag: string
  /** The tags of the sendings before: their replies were lost, and any of them may have been applied. */
  earlier: string[] | undefined
  /** The idempotency key, if the app gave one. */
  key: string | undefined
  resolve (receipt: PublishReceipt | Missing): void
  reject (error: Error): void
}

/** The events of one channel in a batch. */
interface Run {
  keys: ChannelKeys
  entries: Entry[]
  batch: Batch
  /** The one before it on its channel, unless all before it are known to have settled. */
  before: Run | undefined
}

/**
 * A batch is underway until its reply comes, or none will. Where its outcome is unknown it is given up: it may still reach
 * Redis, until the next batch on one of its channels has taken its name.
 */
type BatchState = 'underway' | 'settled' | 'given up'

/** What is appended in one step, or not at all. */
interface Batch {
  /** By which Redis remembers it. */
  name: string
  state: BatchState
  runs: Run[]
}

/** Why something could not be broadcast, what came of each event, and why some were refused: see lua/includes/log.lua. */
type Reply = [trouble: Buffer, outcomes: Buffer, ...refusals: Buffer[]]

/** The outcome of a batch that has to be sent in parts. */
const APART = Symbol('apart')

/** How many events a batch has at most, and how many characters before the last: so long Redis does nothing else. */
const MOST_EVENTS = 64
const MOST_CHARACTERS = 262_144

/** So few channels may have ended before any is forgotten. */
const FEW = 64

/** Of how many batches that were given up the names are kept. Each is sent with every batch on its channels until one is done. */
const MOST_GIVEN_UP = 128

/**
 * Appends events to the logs in Redis, each once, and those of a channel in the order they came. One that comes alone is sent at once. While others are under way,
 * those of one turn go as a batch: a script costs Redis, and ioredis, much more than one more event in it.
 */
export class LogWriter {
  readonly #options: LogWriterOptions
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
  /** The oldest first. */
  readonly #givenUp: Batch[] = []

  constructor (options: LogWriterOptions) {
    this.#options = options
    this.#apart = options.apart
  }

  /** Appends an event and broadcasts it. */
  append (channel: string, envelope: Envelope, key: string | undefined): Promise<PublishReceipt> {
    return new Promise<PublishReceipt | Missing>((resolve, reject) => {
      const entry = { payload: encodePayload(envelope), tag: '', earlier: undefined, key, resolve, reject }
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
  finalize (channel: string, envelope: Envelope, { field, owner = '', key }: Finalization): Promise<PublishReceipt | Missing> {
    this.flush()
    return new Promise((resolve, reject) => {
      const entry = { payload: encodePayload(envelope), tag: '', earlier: undefined, key, resolve, reject }
      const run = this.#enqueue(channel, entry, this.#last.get(channel))
      const { channel: redisChannel, meta, stream, finalization, fields, leases } = run.keys
      this.#send([run], this.#options.scripts.finalize,
        [this.#nextBatchKey(run), meta, stream, finalization + encodeKey(key), fields, leases],
        () => [newEpoch(), '0', '0', redisChannel, nextTag(entry), entry.payload, encodeField(field), owner,
          newEpoch()])
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
    const run = { keys: before?.keys ?? this.#options.keys.of(channel), entries: [entry], batch: GATHERED, before }
    this.#last.set(channel, run)
    return run
  }

  #append (runs: Run[]): void {
    const keys = [this.#nextBatchKey(runs[0] as Run)]
    for (const { keys: { meta, stream, idempotency }, entries } of runs) {
      keys.push(meta, stream)
      for (const { key } of entries) if (key !== undefined) keys.push(idempotency + encodeKey(key))
    }
    this.#send(runs, this.#options.scripts.append, keys, () => valuesOf(runs))
  }

  #appendApart (runs: Run[]): void {
    for (const run of runs) this.#append([run])
  }

  #nextBatchKey ({ keys: { batch } }: Run): string {
    return `${batch}${this.#base}-${++this.#batches}`
  }

  /**
   * Sends a batch. Its name stands first, and an epoch and the counts of those before it: see lua/includes/batch.lua. Epochs and
   * tags are new each time it is sent: a failover may have taken back what an earlier sending wrote, and readers that
   * have seen that must find that it is gone.
   */
  #send (runs: Run[], script: Script, keys: string[], build: () => string[]): void {
    const batch: Batch = { name: keys[0] as string, state: 'underway', runs }
    for (const run of runs) run.batch = batch
    this.#underway++
    let before: Batch[] = []
    let givenUp: Batch[] = []
    this.#options.perform<Reply | typeof APART>({
      repeatable: true,
      bytes: bytesOf(runs),
      command: (client, isCold) => {
        ({ before, givenUp } = batchesBefore(runs))
        const args = build()
        args[1] = String(before.length)
        args[2] = String(givenUp.length)
        return script.run(client, withKeys(keys, before, givenUp), args, isCold(script)) as Promise<Reply>
      },
      instead: ({ message }) => this.#mayPass(message, runs, before, givenUp) ? APART : undefined,
      resolve: (reply) => {
        this.#underway--
        if (reply !== APART) this.#settle(runs, reply)
        else if (runs.length > 1) this.#appendApart(runs)
        else this.#send(runs, script, keys, build)
      },
      reject: (error) => {
        this.#underway--
        for (const { entries } of runs) for (const { reject } of entries) reject(error.again())
        this.#end(runs, error.code === 'RT_PUBLISH_UNKNOWN' ? 'given up' : 'refused')
      }
    })
  }

  /** Whether what was refused may pass in parts, or without the names of others. */
  #mayPass (message: string, runs: Run[], before: Batch[], givenUp: Batch[]): boolean {
    if (message.startsWith('CROSSSLOT ') && runs.length + before.length > 1) {
      // A server with slots, behind a client that knows of none.
      this.#apart = true
      return true
    }
    if (!/^(CROSSSLOT|NOPERM) /.test(message)) return false
    // It need not be for all that the user has no rights.
    if (runs.length > 1) return true
    // Where the name of a batch of several channels is out of reach from one of them, Redis refuses that batch as well.
    const unreachable = givenUp.filter((batch) => batch.runs.length > 1)
    for (const batch of unreachable) batch.state = 'settled'
    return unreachable.length > 0
  }

  #settle (runs: Run[], [trouble, outcomes, ...refusals]: Reply): void {
    const all = outcomes.toString('latin1')
    const each = all.includes(' ') ? all.split(' ') : [all]
    let n = 0
    for (const { entries } of runs) {
      for (const entry of entries) {
        const outcome = each[n++] as string
        if (outcome === '-') entry.reject(refused(refusals.shift()))
        else if (outcome.startsWith('!')) entry.resolve({ epoch: outcome.slice(1) })
        else entry.resolve({ id: outcome, duplicate: !isOf(entry, outcome) })
      }
    }
    this.#end(runs, 'done')
    if (trouble.length > 0) this.#options.onUnheard(new Error(trouble.toString()))
  }

  /** Takes note that the batch of these is not under way any more. If it was done, so were those before it, or never will be. */
  #end (runs: Run[], outcome: 'done' | 'refused' | 'given up'): void {
    const { batch } = runs[0] as Run
    batch.state = outcome === 'given up' ? 'given up' : 'settled'
    for (const run of runs) {
      run.entries = NONE
      run.before = outcome === 'done' ? undefined : unsettledBefore(run)
    }
    if (outcome === 'given up') this.#keep(batch)
    if (this.#last.size >= (this.#underway === 0 ? FEW : this.#sweepAt)) this.#sweep()
  }

  #keep (batch: Batch): void {
    this.#givenUp.push(batch)
    if (this.#givenUp.length <= MOST_GIVEN_UP) return
    const oldest = this.#givenUp.shift() as Batch
    oldest.state = 'settled'
    // Else each would keep all those before it in memory.
    for (const run of oldest.runs) run.before = unsettledBefore(run)
  }

  #sweep (): void {
    for (const [channel, run] of this.#last) {
      if (run.batch.state === 'settled' && unsettledBefore(run) === undefined) this.#last.delete(channel)
    }
    this.#sweepAt = 2 * this.#last.size + FEW
  }
}

/** The events of what has ended. */
const NONE: Entry[] = []

/** The batch of what was not sent yet. */
const GATHERED: Batch = { name: '', state: 'underway', runs: [] }

/** What lua/append.lua is told of each: whether it has a key. */
function kindsOf (entries: Entry[]): string {
  let kinds = ''
  for (const { key } of entries) kinds += key === undefined ? '-' : 'k'
  return kinds
}

function valuesOf (runs: Run[]): string[] {
  const args = [newEpoch(), '0', '0']
  for (const { keys: { channel }, entries } of runs) {
    args.push(channel, kindsOf(entries))
    for (const entry of entries) args.push(nextTag(entry), entry.payload)
  }
  return args
}

/** A new tag for the next sending of an event. */
function nextTag (entry: Entry): string {
  if (entry.tag !== '') (entry.earlier ??= []).push(entry.tag)
  entry.tag = String(randomTag())
  return entry.tag
}

/** Whether an id is that of an event, as one of its sendings appended it. */
function isOf ({ tag, earlier }: Entry, id: string): boolean {
  const found = id.slice(id.lastIndexOf('-') + 1)
  return found === tag || (earlier?.includes(found) ?? false)
}

/** What events take in memory until they have settled, about. */
function bytesOf (runs: Run[]): number {
  let bytes = 0
  for (const { entries } of runs) {
    for (const { payload } of entries) bytes += Buffer.byteLength(payload) + BYTES_EACH
  }
  return bytes
}

function unsettledBefore ({ before }: Run): Run | undefined {
  while (before?.batch.state === 'settled') before = before.before
  return before
}

/**
 * The batches that have to be done before these, and those that were given up since: nothing before the ones that have to be
 * done needs to be named.
 */
function batchesBefore (runs: Run[]): { before: Batch[], givenUp: Batch[] } {
  const before: Batch[] = []
  const givenUp: Batch[] = []
  for (const run of runs) {
    let earlier = unsettledBefore(run)
    while (earlier?.batch.state === 'given up') {
      if (!givenUp.includes(earlier.batch)) givenUp.push(earlier.batch)
      earlier = unsettledBefore(earlier)
    }
    if (earlier !== undefined && !before.includes(earlier.batch)) before.push(earlier.batch)
  }
  return { before, givenUp }
}

function withKeys (keys: string[], before: Batch[], givenUp: Batch[]): string[] {
  if (before.length === 0 && givenUp.length === 0) return keys
  return [...keys, ...before.map(({ name }) => name), ...givenUp.map(({ name }) => name)]
}

/** Where the reply was lost, so were the words. */
function refused (words: Buffer | undefined): RealtimeError {
  return new RealtimeError('RT_PUBLISH_REJECTED', words === undefined ? 'Redis refused it' : `Redis said ${describeRedisError(new Error(words.toString()))}`)
}
