import type { RelayContext, RunningRelay } from '../chat/relayed-outbox.ts'
import { outsideRequests } from '../core/async-context.ts'
import { budgets } from '../core/budgets.ts'
import { parseJson } from '../core/json.ts'
import type { Logger } from '../core/logger.ts'
import { timing } from '../core/timing.ts'
import { withTimeout } from '../core/with-timeout.ts'
import { RealtimeError, type RealtimeErrorCode } from '../errors.ts'
import type { ChatEventInput } from '../event-types.ts'
import {
  logPending, logRecovered, logRepeated, type RecoverableFailure, type RepeatedFailure
} from '../observability/repeated-failure.ts'
import { asRow } from '../pubsub/publisher.ts'
import { delayAfter } from './backoff.ts'
import type { Database } from './database.ts'
import type { WaitingRow } from './dialect.ts'
import { describeFailure } from './failure.ts'
import { Lease } from './lease.ts'
import { Notifications } from './notifications.ts'
import type { OutboxValues } from './options.ts'
import { Pause } from './pause.ts'
import { StalledChats } from './stalled-chats.ts'

type Needed = RelayContext & { log: Logger }

const DATABASE: RecoverableFailure = {
  level: 'error', message: 'The outbox cannot use its database', recovered: 'The outbox can use its database again'
}
const SET_ASIDE: RepeatedFailure = {
  level: 'error', message: 'A row of the outbox can never be published, so it was set aside'
}

/** The errors after which a row can never be published as it is. All others are temporary. */
const FINAL: ReadonlySet<string> = new Set<RealtimeErrorCode>([
  'RT_CHAT_ID_INVALID', 'RT_EVENT_TYPE_INVALID', 'RT_PAYLOAD_INVALID', 'RT_PAYLOAD_TOO_LARGE',
  'RT_IDEMPOTENCY_KEY_INVALID'
])

/**
 * Publishes the rows of an outbox while it has the lease.
 *
 * The rows of a chat are published one after another, each once the one before is acknowledged: Redis may accept a
 * batch in part, and a row that is retried must not come after its successor. Different chats are published side by
 * side, and a chat that is slow or fails holds up no other one.
 *
 * A row is deleted once it is acknowledged. So it may be published again, after a crash, or by a relay that was
 * suspended and has lost its lease without noticing. Its key then makes it a duplicate.
 */
export class Relay implements RunningRelay {
  readonly #database: Database
  readonly #options: OutboxValues
  readonly #pollMs: number
  readonly #context: Needed
  readonly #lease: Lease
  readonly #notifications: Notifications | undefined
  readonly #pause = new Pause()
  readonly #stalled = new StalledChats()
  /** Chats whose rows must not be read: they are being published, or were not deleted yet. */
  readonly #busy = new Set<string>()
  readonly #publishing = new Set<Promise<void>>()
  /** Characters of the rows that are being published. */
  #size = 0
  /** Acknowledged rows to delete, and the chats that are then no longer busy. */
  readonly #acknowledged: string[] = []
  readonly #finished: string[] = []
  readonly #onStop: () => void
  readonly #loop: Promise<void>

  /** `channel` is that of the notifications. `onStop` is called once it no longer wants to be woken. */
  constructor (
    database: Database, options: OutboxValues, channel: string, context: Needed, onStop: () => void
  ) {
    const { listen, pollMs = listen === undefined ? timing.outboxPoll : timing.outboxSafetyPoll } = options
    this.#database = database
    this.#options = options
    this.#pollMs = pollMs
    this.#context = context
    this.#lease = new Lease(database, options.leaseMs)
    this.#onStop = onStop
    const { log } = context
    this.#notifications = listen && new Notifications(listen, { channel, log, onNotify: () => this.wake() })
    this.#loop = outsideRequests(async () => {
      this.#notifications?.start()
      await this.#run()
    })
  }

  /** Reports that there may be a new row. */
  wake (): void {
    this.#pause.wake()
  }

  /** Ends after the publishes under way. Resolves within a bounded time, whatever the database does. Never rejects. */
  async stop (): Promise<void> {
    this.#onStop()
    this.#notifications?.stop()
    this.#pause.end()
    await withTimeout(this.#end(), timing.outboxStop).catch((error: unknown) => this.#failed(error))
    logPending(this.#context.log)
  }

  async #end (): Promise<void> {
    await Promise.all(this.#publishing)
    // Published rows should be deleted. Nothing else is worth a long wait, as the lease runs out by itself.
    const ms = this.#acknowledged.length > 0 ? timing.outboxStop : timing.outboxRelease
    await withTimeout(this.#leave(), ms)
  }

  /** Deletes the rows that were published, and lets another relay take the lease. */
  async #leave (): Promise<void> {
    await this.#loop
    try {
      await this.#deleteAcknowledged()
    } finally {
      await this.#lease.release()
    }
  }

  async #run (): Promise<void> {
    let failures = 0
    while (!this.#pause.hasEnded) {
      try {
        await this.#turn()
        failures = 0
      } catch (error) {
        this.#failed(error)
        await this.#pause.sleep(delayAfter(++failures))
      }
    }
  }

  /** Publishes the next rows, or waits for some. Rejects if the database does. */
  async #turn (): Promise<void> {
    this.#pause.rest()
    const standbyMs = await this.#lease.take()
    if (standbyMs > 0) {
      logRecovered(this.#context.log, DATABASE)
      return await this.#pause.sleepUntilWoken(standbyMs)
    }
    await this.#deleteAcknowledged()
    const rows = this.#isFull ? [] : await this.#read()
    logRecovered(this.#context.log, DATABASE)
    if (rows.length === 0) return await this.#pause.sleepUntilWoken(this.#idleMs)
    // Chats that take longer remain busy, while the rows of others are read.
    await this.#pause.waitFor(this.#publish(rows), timing.outboxSlow)
  }

  get #isFull (): boolean {
    return this.#size >= budgets.page || this.#stalled.isFull
  }

  /** The time until there may be rows again: until the next look, or until a chat is tried again. */
  get #idleMs (): number {
    const isPolling = this.#notifications?.isLive === false
    return Math.min(isPolling ? timing.outboxPoll : Infinity, this.#pollMs, this.#stalled.retryMs)
  }

  #read (): Promise<WaitingRow[]> {
    const { batchSize } = this.#options
    return this.#database.waiting(batchSize, budgets.page, [...this.#busy, ...this.#stalled.waiting()])
  }

  async #publish (rows: WaitingRow[]): Promise<void> {
    await Promise.all([...byChat(rows)].map(([chatId, ofChat]) => {
      const run = this.#publishChat(chatId, ofChat).finally(() => this.#publishing.delete(run))
      this.#publishing.add(run)
      return run
    }))
  }

  /** Publishes rows of one chat in order, up to the first failure. Never rejects. */
  async #publishChat (chatId: string, rows: WaitingRow[]): Promise<void> {
    const size = rows.reduce((sum, { event }) => sum + event.length, 0)
    this.#size += size
    this.#busy.add(chatId)
    for (const row of rows) {
      // Another relay may have taken over.
      if (this.#pause.hasEnded || !this.#lease.isHeld) break
      if (!await this.#publishRow(row)) {
        this.#stalled.fail(chatId)
        break
      }
      this.#stalled.recover(chatId)
    }
    this.#size -= size
    this.#finished.push(chatId)
    this.wake()
  }

  /** Returns whether the row no longer waits. */
  async #publishRow (row: WaitingRow): Promise<boolean> {
    const { id, chatId, event, key } = row
    try {
      const options = asRow(key, this.#options.keyTtlMs)
      // Publishing checks the event.
      await this.#context.chatEvents.publish(chatId, parseJson(event) as ChatEventInput, options)
      this.#acknowledged.push(id)
      return true
    } catch (error) {
      // Publishing has logged a temporary failure.
      return error instanceof RealtimeError && FINAL.has(error.code) && await this.#setAside(id, error)
    }
  }

  async #setAside (row: string, { code, message: reason }: RealtimeError): Promise<boolean> {
    try {
      await this.#database.setAside(row, `${code}: ${reason}`)
      logRepeated(this.#context.log, SET_ASIDE, { row, code, reason }, code)
      return true
    } catch (error) {
      this.#failed(error)
      return false
    }
  }

  /** Deletes acknowledged rows. Then further rows of the chats that have finished may be read. */
  async #deleteAcknowledged (): Promise<void> {
    // More can follow while the statement runs.
    const [rows, chats] = [this.#acknowledged.length, this.#finished.length]
    await this.#database.remove(this.#acknowledged.slice(0, rows))
    this.#acknowledged.splice(0, rows)
    for (const chatId of this.#finished.splice(0, chats)) this.#busy.delete(chatId)
  }

  #failed (error: unknown): void {
    const failure = describeFailure(error)
    logRepeated(this.#context.log, DATABASE, failure, failure.code)
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
