import type { ChatEvents } from '../chat/chat-events.ts'
import { outsideRequests } from '../core/async-context.ts'
import { parseJson } from '../core/json.ts'
import type { Logger } from '../core/logger.ts'
import { timing } from '../core/timing.ts'
import { withTimeout } from '../core/with-timeout.ts'
import { budgets } from '../core/budgets.ts'
import { RealtimeError, type RealtimeErrorCode } from '../errors.ts'
import type { ChatEventInput } from '../event-types.ts'
import {
  logPending, logRecovered, logRepeated, type RecoverableFailure, type RepeatedFailure
} from '../observability/repeated-failure.ts'
import { asRow } from '../pubsub/publisher.ts'
import type { Database } from './database.ts'
import type { WaitingRow } from './dialect.ts'
import { Lease } from './lease.ts'
import type { OutboxValues } from './options.ts'
import { Waker } from './waker.ts'

/** What a relay publishes with. */
export interface RelayContext {
  chatEvents: ChatEvents
  /** The logger for failures. @default none */
  log?: Logger | undefined
}

type Needed = RelayContext & { log: Logger }

const DATABASE: RecoverableFailure = {
  level: 'error', message: 'The outbox cannot use its database', recovered: 'The outbox can use its database again'
}
const LISTENING: RepeatedFailure = {
  level: 'warn', message: 'The outbox cannot listen to its database, so it polls'
}
const SET_ASIDE: RepeatedFailure = {
  level: 'error', message: 'A row of the outbox can never be published, so it was set aside'
}

/** The errors after which a row can never be published as it is. All others are temporary. */
const FINAL: ReadonlySet<string> = new Set<RealtimeErrorCode>([
  'RT_CHAT_ID_INVALID', 'RT_CHANNEL_INVALID', 'RT_EVENT_TYPE_INVALID', 'RT_PAYLOAD_INVALID', 'RT_PAYLOAD_TOO_LARGE',
  'RT_IDEMPOTENCY_KEY_INVALID'
])

/** The delays after failures in a row, in milliseconds. */
const FIRST_RETRY_MS = 100
const LONGEST_RETRY_MS = 5_000

/** If more chats than this have failed, the relay pauses as a whole. */
const MOST_RESTING = 256

/** A chat whose publish has failed. */
interface Rest {
  failures: number
  /** When it is tried again, by `performance.now()`. */
  until: number
}

/** Publishes the rows of an outbox while it has the lease: in order in each chat, many chats side by side. */
export class Relay {
  readonly #database: Database
  readonly #options: OutboxValues
  readonly #pollMs: number
  readonly #context: Needed
  readonly #lease: Lease
  readonly #waker = new Waker()
  readonly #resting = new Map<string, Rest>()
  readonly #onStop: () => void
  #isStopping = false
  #failures = 0
  #unlisten: Promise<() => unknown> | undefined
  readonly #run: Promise<void>

  /** `channel` is that of the notifications. `onStop` is called once it no longer wants to be woken. */
  constructor (
    database: Database, options: OutboxValues, channel: string, context: Needed, onStop: () => void
  ) {
    this.#database = database
    this.#options = options
    this.#pollMs = options.pollMs ?? (options.listen === undefined ? 250 : 1_000)
    this.#context = context
    this.#lease = new Lease(database, options.leaseMs)
    this.#onStop = onStop
    this.#run = outsideRequests(async () => {
      this.#listen(channel)
      await this.#loop()
    })
  }

  /** Reports that there may be a new row. */
  wake (): void {
    this.#waker.wake()
  }

  /** Ends after the publishes under way. Resolves within a bounded time, whatever the database does. Never rejects. */
  async stop (): Promise<void> {
    this.#isStopping = true
    this.#onStop()
    this.#waker.wake()
    const unlisten = this.#unlisten?.then((stop) => stop())
    const ending = Promise.allSettled([this.#run.then(() => this.#lease.release()), unlisten])
    await withTimeout(ending, timing.outboxStop).catch(() => {})
    logPending(this.#context.log)
  }

  #listen (channel: string): void {
    const { listen } = this.#options
    if (listen === undefined) return
    this.#unlisten = (async () => await listen(channel, () => this.wake()))()
    this.#unlisten.catch((error) => this.#log(LISTENING, error))
  }

  async #loop (): Promise<void> {
    while (!this.#isStopping) await this.#waker.pause(await this.#turn())
  }

  /** Publishes the next rows. Returns the milliseconds to wait before the next turn. Never rejects. */
  async #turn (): Promise<number> {
    this.#waker.rest()
    try {
      const standbyMs = await this.#lease.take()
      if (standbyMs > 0) return standbyMs
      const rows = await this.#read()
      const pause = rows.length > 0 ? await this.#publish(rows) : this.#pause()
      this.#failures = 0
      logRecovered(this.#context.log, DATABASE)
      return pause
    } catch (error) {
      this.#log(DATABASE, error)
      return retryMs(this.#failures++)
    }
  }

  async #read (): Promise<WaitingRow[]> {
    const now = performance.now()
    const resting = [...this.#resting].filter(([, { until }]) => until > now).map(([chatId]) => chatId)
    return await this.#database.waiting(this.#options.batchSize, budgets.page, resting)
  }

  /** The time until there may be rows again: until the next look, or until a chat is tried again. */
  #pause (): number {
    const now = performance.now()
    return Math.min(this.#pollMs, ...[...this.#resting.values()].map(({ until }) => Math.max(0, until - now)))
  }

  /** Publishes rows and deletes them. Returns the milliseconds to wait. */
  async #publish (rows: WaitingRow[]): Promise<number> {
    const published: string[] = []
    const chats = [...byChat(rows)].map(([chatId, ofChat]) => this.#publishChat(chatId, ofChat, published))
    const failed = (await Promise.allSettled(chats)).find(({ status }) => status === 'rejected')
    await this.#database.remove(published)
    if (failed !== undefined) await Promise.reject((failed as PromiseRejectedResult).reason)
    return this.#resting.size > MOST_RESTING ? this.#pause() : 0
  }

  /**
   * Publishes rows of one chat, each once the one before is acknowledged: if one fails, no later one may come before
   * it.
   */
  async #publishChat (chatId: string, rows: WaitingRow[], published: string[]): Promise<void> {
    for (const row of rows) {
      // Another relay may have taken over.
      if (this.#isStopping || !this.#lease.isHeld) return
      try {
        await this.#publishRow(row)
        published.push(row.id)
        this.#resting.delete(chatId)
      } catch (error) {
        if (!(error instanceof RealtimeError && FINAL.has(error.code))) return this.#rest(chatId)
        logRepeated(this.#context.log, SET_ASIDE, { row: row.id, code: error.code, reason: error.message }, error.code)
        await this.#database.setAside(row.id, `${error.code}: ${error.message}`)
      }
    }
  }

  async #publishRow ({ chatId, event, key }: WaitingRow): Promise<void> {
    const options = asRow(key, this.#options.keyTtlMs)
    await this.#context.chatEvents.publish(chatId, parseJson(event) as ChatEventInput, options)
  }

  /** Tries a chat again later. The failure itself was logged by `publish`. */
  #rest (chatId: string): void {
    const failures = this.#resting.get(chatId)?.failures ?? 0
    this.#resting.set(chatId, { failures: failures + 1, until: performance.now() + retryMs(failures) })
  }

  /** The message of a database is not logged: it may quote a row. */
  #log (failure: RepeatedFailure, error: unknown): void {
    const { code = error instanceof Error ? error.name : '' } = Object(error) as { code?: unknown }
    const reason = error instanceof RealtimeError ? { reason: error.message } : {}
    logRepeated(this.#context.log, failure, { code, ...reason }, String(code))
  }
}

function byChat (rows: WaitingRow[]): Map<string, WaitingRow[]> {
  const chats = new Map<string, WaitingRow[]>()
  for (const row of rows) {
    const ofChat = chats.get(row.chatId)
    if (ofChat === undefined) chats.set(row.chatId, [row])
    else ofChat.push(row)
  }
  return chats
}

/** The delay after a failure, with jitter, so that several relays do not try again at the same time. */
function retryMs (failures: number): number {
  return Math.min(FIRST_RETRY_MS * 2 ** failures, LONGEST_RETRY_MS) * (1 + Math.random() / 2)
}
