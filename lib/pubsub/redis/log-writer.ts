import { randomBytes } from 'node:crypto'
import { RealtimeError } from '../../errors.ts'
import { newEpoch, randomTag } from '../cursor.ts'
import type { PublishReceipt } from '../provider.ts'
import type { BatchedReads } from './batched-reads.ts'
import { describeRedisError } from './connection.ts'
import { encodeKey, type ChannelKeys, type RedisKeys } from './keys.ts'
import { BYTES_EACH, type CommandQueue } from './command-queue.ts'
import type { Script, Scripts } from './scripts.ts'
import type { Finalization } from '../state-store.ts'
import type { Envelope } from '../event-log.ts'
import { encodeField, encodePayload } from '../wire.ts'

interface LogWriterOptions {
  keys: RedisKeys
  scripts: Scripts
  /** Whether each channel needs its own script call, as in a Cluster, where all keys of a call must be in one slot. */
  apart: boolean
  commands: Pick<CommandQueue, 'perform'>
  /** Reads that are sent before the next events. */
  bounds: Pick<BatchedReads, 'flush'>
  /** Called with the error if an event was appended to the log but could not be broadcast. */
  onUnheard (error: Error): void
}

/** The result of a finalize if the draft does not exist. Contains the epoch of the state. */
interface Missing { epoch: string }

/** An event to append. */
interface Entry {
  payload: string
  /**
   * Tag of the latest sending. Each sending has its own tag: if a failover discards the event and it is sent again, the
   * new event has another id than the lost one.
   */
  tag: string
  /** Tags of earlier sendings whose replies were lost. Any of them may have been applied. */
  earlier: string[] | undefined
  /** The idempotency key, if the app passed one. */
  key: string | undefined
  /** Milliseconds to remember the key, if it is the key of a row of an outbox. */
  rowKeyTtlMs: number | undefined
  resolve (receipt: PublishReceipt | Missing): void
  reject (error: Error): void
}

/** The events of one channel in a batch. */
interface Run {
  keys: ChannelKeys
  entries: Entry[]
  batch: Batch
  /** The previous run on the channel. `undefined` if all earlier runs are known to have settled. */
  before: Run | undefined
}

/**
 * A batch is `underway` until its reply arrives or it is rejected. It is `given up` if it was rejected with an unknown
 * outcome. Redis may still receive and apply it, until a later batch on one of its channels has marked its name.
 */
type BatchState = 'underway' | 'settled' | 'given up'

/** Events that one script call appends atomically. */
interface Batch {
  /** Redis key that stores the outcome of the batch. */
  name: string
  state: BatchState
  runs: Run[]
}

/** The broadcast error or '', one word for each event (see lua/includes/batch.lua), and the reason of each refusal. */
type Reply = [trouble: Buffer, outcomes: Buffer, ...refusals: Buffer[]]

/** Result of a refused batch that has to be sent again in parts, or without the names of other batches. */
const APART = Symbol('apart')

/** A batch is sent as soon as it has this many events or payload characters. A larger one would block Redis longer. */
const MOST_EVENTS = 64
const MOST_CHARACTERS = 262_144

/** Settled channels are removed from the map only if it has at least this many channels. */
const FEW = 64

/**
 * Maximum number of given-up batches whose names are kept. Each name is sent with every batch on its channels until one
 * of those succeeds.
 */
const MOST_GIVEN_UP = 128

/**
 * Appends events to the logs in Redis: each event once, and in order per channel. If no batch is underway, an event is
 * sent at once. Otherwise, all events of one turn are sent as a batch: for Redis and ioredis, another script call costs
 * much more than another event in the same call.
 */
export class LogWriter {
  readonly #options: LogWriterOptions
  /**
   * Prefix of batch names. Not `instanceId`: an app may use the same one after a restart, while Redis still remembers
   * the earlier names.
   */
  readonly #base = randomBytes(12).toString('base64url')
  #apart: boolean
  #batches = 0
  #underway = 0
  /** Runs that are sent at the end of this turn, with the number of their events and of their payload characters. */
  #gathered: Run[] = []
  #entries = 0
  #characters = 0
  #turn: NodeJS.Immediate | undefined
  /** The last run of each channel. Settled runs are removed in bulk, since separate deletes would cost more. */
  #last = new Map<string, Run>()
  #sweepAt = FEW
  /** Batches with an unknown outcome, oldest first. */
  readonly #givenUp: Batch[] = []

  constructor (options: LogWriterOptions) {
    this.#options = options
    this.#apart = options.apart
  }

  /** Appends an event and broadcasts it. */
  append (
    channel: string, envelope: Envelope, key: string | undefined, rowKeyTtlMs?: number
  ): Promise<PublishReceipt> {
    return new Promise<PublishReceipt | Missing>((resolve, reject) => {
      const entry = entryOf(envelope, key, rowKeyTtlMs, resolve, reject)
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

  /**
   * Finalizes a draft: appends its event and removes the draft. Resolves with the state's epoch if there is no draft.
   */
  finalize (
    channel: string,
    envelope: Envelope,
    { field, owner = '', keepContent, key }: Finalization
  ): Promise<PublishReceipt | Missing> {
    this.flush()
    return new Promise((resolve, reject) => {
      const entry = entryOf(envelope, key, undefined, resolve, reject)
      const run = this.#enqueue(channel, entry, this.#last.get(channel))
      const { channel: redisChannel, meta, stream, finalization, fields, leases, draft } = run.keys
      this.#send(
        [run],
        this.#options.scripts.finalize,
        [
          this.#nextBatchKey(run), meta, stream, finalization + encodeKey(key), fields, leases, draft + encodeKey(field)
        ],
        () => [
          newEpoch(), '0', '0', redisChannel, nextTag(entry), entry.payload, encodeField(field), owner, newEpoch(),
          keepContent ? '1' : '0'
        ]
      )
    })
  }

  /** Sends the gathered events. Called before any other command, to keep the order. */
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
    for (const { keys: names, entries } of runs) {
      keys.push(names.meta, names.stream)
      for (const { key, rowKeyTtlMs } of entries) {
        if (key !== undefined) keys.push((rowKeyTtlMs === undefined ? names.idempotency : names.row) + encodeKey(key))
      }
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
   * Sends a batch. The first key is its name. The first arguments are an epoch, the number of batches before it and the
   * number of given-up batches: see lua/includes/batch.lua. Each sending has a new epoch and new tags: a failover may
   * have discarded the events of an earlier sending, and readers that received those must be able to detect the loss.
   */
  #send (runs: Run[], script: Script, keys: string[], build: () => string[]): void {
    this.#options.bounds.flush()
    const batch: Batch = { name: keys[0] as string, state: 'underway', runs }
    for (const run of runs) run.batch = batch
    this.#underway++
    let before: Batch[] = []
    let givenUp: Batch[] = []
    const call = script.call()
    this.#options.commands.perform<Reply | typeof APART>({
      repeatable: true,
      bytes: bytesOf(runs),
      command: (client) => {
        ({ before, givenUp } = batchesBefore(runs))
        const args = build()
        args[1] = String(before.length)
        args[2] = String(givenUp.length)
        return call.send(client, withKeys(keys, before, givenUp), args) as Promise<Reply>
      },
      // If Redis has lost the script, it has refused the later batches as well, or has run them before this one.
      resend: (error) => call.isForgotten(error) ? 'all' : isEarly(error) ? 'this' : undefined,
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

  /** Returns whether Redis may accept the batch in parts, or without the names of other batches. */
  #mayPass (message: string, runs: Run[], before: Batch[], givenUp: Batch[]): boolean {
    if (message.startsWith('CROSSSLOT ') && runs.length + before.length > 1) {
      // The server is a Cluster node, but the client is not a Cluster client.
      this.#apart = true
      return true
    }
    if (!/^(CROSSSLOT|NOPERM) /.test(message)) return false
    // The Redis user may have rights for some of the channels, but not for all.
    if (runs.length > 1) return true
    // The name of a given-up batch of several channels may be in another slot or not permitted. Redis refuses that
    // batch for the same reason, so its name need not be sent.
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

  /** Marks the batch as no longer underway. If it is done, earlier batches are done or can no longer be applied. */
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

  /** Keeps the name of a given-up batch. If there are too many, forgets the oldest. */
  #keep (batch: Batch): void {
    this.#givenUp.push(batch)
    if (this.#givenUp.length <= MOST_GIVEN_UP) return
    const oldest = this.#givenUp.shift() as Batch
    oldest.state = 'settled'
    // Otherwise each run would keep all earlier runs in memory.
    for (const run of oldest.runs) run.before = unsettledBefore(run)
  }

  #sweep (): void {
    const last = this.#last
    // A new map, since the tables that a map discards when it shrinks delay the garbage collection of the runs.
    this.#last = new Map()
    for (const [channel, run] of last) {
      if (run.batch.state !== 'settled' || unsettledBefore(run) !== undefined) this.#last.set(channel, run)
    }
    this.#sweepAt = 2 * this.#last.size + FEW
  }
}

function entryOf (
  envelope: Envelope,
  key: string | undefined,
  rowKeyTtlMs: number | undefined,
  resolve: Entry['resolve'],
  reject: Entry['reject']
): Entry {
  return { payload: encodePayload(envelope), tag: '', earlier: undefined, key, rowKeyTtlMs, resolve, reject }
}

/** The entries of a settled run. */
const NONE: Entry[] = []

/** Placeholder batch of runs that were not sent yet. */
const GATHERED: Batch = { name: '', state: 'underway', runs: [] }

/** Returns one letter for each event, the kind of its key. See lua/append.lua. */
function kindsOf (entries: Entry[]): string {
  let kinds = ''
  for (const { key, rowKeyTtlMs } of entries) kinds += key === undefined ? '-' : rowKeyTtlMs === undefined ? 'k' : 'r'
  return kinds
}

function valuesOf (runs: Run[]): string[] {
  const args = [newEpoch(), '0', '0']
  for (const { keys: { channel }, entries } of runs) {
    args.push(channel, kindsOf(entries))
    for (const entry of entries) {
      if (entry.rowKeyTtlMs !== undefined) args.push(String(entry.rowKeyTtlMs))
      args.push(nextTag(entry), entry.payload)
    }
  }
  return args
}

/** Sets and returns a new tag for the next sending of an event. */
function nextTag (entry: Entry): string {
  if (entry.tag !== '') (entry.earlier ??= []).push(entry.tag)
  entry.tag = String(randomTag())
  return entry.tag
}

/** Returns whether one of the event's own sendings was appended with this id. If not, the event is a duplicate. */
function isOf ({ tag, earlier }: Entry, id: string): boolean {
  const found = id.slice(id.lastIndexOf('-') + 1)
  return found === tag || (earlier?.includes(found) ?? false)
}

/** Returns the approximate memory in bytes that events take until they settle. */
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
 * Returns the latest batch underway on each channel of these runs, which Redis must apply first, and the batches given
 * up after it. Older batches need not be named, because each batch names those before it.
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

/**
 * Returns whether Redis refused a batch because an earlier one is missing, which was refused or is being sent again.
 * See lua/includes/batch.lua.
 */
function isEarly ({ message }: Error): boolean {
  return message.startsWith('EARLY ')
}

/** `words` is undefined if the reply with the reason was lost. */
function refused (words: Buffer | undefined): RealtimeError {
  return new RealtimeError(
    'RT_PUBLISH_REJECTED',
    words === undefined ? 'Redis refused it' : `Redis said ${describeRedisError(new Error(words.toString()))}`
  )
}
