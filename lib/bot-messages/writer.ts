import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { botMessage, endKeyOf, fieldOf } from './fields.ts'
import { FlushWindow } from './flush-window.ts'
import { BotMessageText, jsonBytesOf } from './text.ts'
import type { BotMessage, BotMessageExtra } from '../event-types.ts'
import { RealtimeError, kindOf } from '../errors.ts'
import type { Logger } from '../core/logger.ts'
import type { StateReceipt, StateRequest, StateStore } from '../pubsub/state-store.ts'
import { logRepeated, type RepeatedFailure } from '../observability/repeated-failure.ts'
import { timing } from '../core/timing.ts'

const WRITING: RepeatedFailure = {
  level: 'warn', message: 'A piece of a bot message could not be written, trying again'
}

/** Dependencies of a bot message writer. */
export interface BotMessageWriterContext {
  chatId: string
  channel: string
  store: StateStore
  /** Milliseconds for which appended text is collected into one piece. */
  windowMs: number
  leaseMs: number
  /** The most bytes that the final event may take. */
  maxPayloadBytes: number
  log: Logger
  /** Called when the bot message has ended. */
  onEnd (): void
}

/** The final status of a bot message. */
export type BotMessageStatus = Exclude<BotMessage['status'], 'streaming'>

/** The result of a bot message that has ended. */
export interface BotMessageEnd {
  /**
   * The final status. Differs from the requested one if the bot message was stopped or its lease had expired before.
   */
  status: BotMessageStatus
}

type Ending = Pick<BotMessage, 'extra' | 'error'> & { status: BotMessageStatus }

interface Open { readonly name: 'open' }

interface Finalizing {
  readonly name: 'finalizing'
  readonly ending: Ending
  /** The attempt in progress. After a failed one, the next renewal of the lease retries. */
  attempt: Promise<BotMessageEnd> | undefined
  /** An earlier attempt has an unknown outcome (reply lost). */
  mayHaveEnded: boolean
}

interface Ended { readonly name: 'ended', readonly end: BotMessageEnd }

const OPEN: Open = { name: 'open' }

/**
 * Writes one bot message that this instance produces. Text can be appended while it is `open`. It is `finalizing` from
 * the first request to end it, and `ended` once the outcome is known, or once the lease is found lost.
 */
export class BotMessageWriter {
  readonly id: string
  readonly channel: string
  readonly #context: BotMessageWriterContext
  readonly #owner = randomBytes(12).toString('base64url')
  readonly #abort = new AbortController()
  readonly #text = new BotMessageText()
  readonly #flushes: FlushWindow
  /** The size of the final event without text, in bytes. */
  readonly #emptyBytes: number
  #state: Open | Finalizing | Ended = OPEN
  /** The lease as it was last confirmed: the epoch of the state, and a monotonic time. */
  #lease = { epoch: '', confirmedAt: 0 }

  constructor (id: string, context: BotMessageWriterContext) {
    this.id = id
    this.channel = context.channel
    this.#context = context
    this.#emptyBytes = this.#bytesOf({ status: 'interrupted' })
    this.#flushes = new FlushWindow({
      windowMs: context.windowMs,
      flush: () => this.#writeAll(),
      isDue: () => this.#state.name === 'open' && this.#text.hasUnwritten
    })
  }

  /**
   * Aborts when the rest is not needed: the bot message was stopped, its lease has expired, or the app closes. Pass it
   * to the model.
   */
  get signal (): AbortSignal {
    return this.#abort.signal
  }

  /** Opens the bot message in the state. Rejects with `RT_BOT_MESSAGE_EXISTS`, or as `publish` does. */
  async open (): Promise<void> {
    const { outcome } = await this.#put('')
    if (outcome !== 'done') throw new RealtimeError('RT_BOT_MESSAGE_EXISTS')
  }

  /**
   * Appends text. Resolves at once. If Redis has been unreachable for longer than the lease, resolves once the lease is
   * confirmed again; the waiting text becomes one piece. Rejects with `RT_BOT_MESSAGE_ENDED`, `RT_PAYLOAD_INVALID`, or
   * `RT_PAYLOAD_TOO_LARGE` if the bot message would take more than `maxPayloadBytes`: finish it then. If the promise is
   * not awaited, its rejection causes no `unhandledRejection`.
   */
  append (text: string): Promise<void> {
    const appended = this.#append(text)
    appended.catch(() => {})
    return appended
  }

  /**
   * Ends the bot message: the whole text becomes one event of the log. Resolves with the final status. Rejects as
   * `publish` does; the writer then retries by itself until the outcome is known.
   */
  finish (extra?: BotMessageExtra & object): Promise<BotMessageEnd> {
    return this.#endAs({ status: 'finished', ...extra !== undefined && { extra } })
  }

  /**
   * Ends the bot message as failed, with a description for the reader. Do not pass the message of an error, which
   * belongs in logs. A description that is not a string, or does not fit, is left out. Settles as `finish` does.
   */
  fail (error?: string): Promise<BotMessageEnd> {
    const ending: Ending = { status: 'failed' }
    // The fields of an Error may hold secrets.
    const described: Ending = typeof error === 'string' ? { ...ending, error } : ending
    return this.#endAs(this.#bytesOf(described) > this.#context.maxPayloadBytes ? ending : described)
  }

  /** Ends the bot message and aborts its signal. */
  async stop (status: 'stopped' | 'interrupted'): Promise<void> {
    // Request the end before the signal aborts. Its listeners then find the bot message ending.
    const ended = this.#endAs({ status })
    this.#abort.abort(new RealtimeError('RT_BOT_MESSAGE_ENDED', status))
    await ended
  }

  /**
   * Handles a renewal of the lease. `isGone` means that the lease has expired, or that Redis has lost the field. `at`
   * is the monotonic time at which the renewal was sent.
   */
  async renewed (epoch: string, isGone: boolean, at: number): Promise<void> {
    const state = this.#state
    if (state.name === 'finalizing') {
      if (state.attempt === undefined) await this.#attempt(state).catch(() => {})
    } else if (state.name === 'open') {
      // In a new epoch the text may be lost.
      if (isGone || epoch !== this.#lease.epoch) await this.#recover({ outcome: 'gone', epoch }).catch(() => {})
      else this.#confirmLease(epoch, at)
    }
  }

  /**
   * The only place that changes the state. A finalizing bot message is open again if its final event can't be
   * published. An ended one stays ended.
   */
  #to (state: Open | Finalizing | Ended): void {
    if (this.#state.name === 'ended') return
    this.#state = state
    if (state.name !== 'open') this.#flushes.cancel()
    else if (this.#text.hasUnwritten) this.#flushes.soon()
    if (state.name !== 'ended') return
    this.#context.onEnd()
    const { status } = state.end
    if (status === 'interrupted') this.#abort.abort(new RealtimeError('RT_BOT_MESSAGE_ENDED', status))
  }

  async #append (text: string): Promise<void> {
    if (typeof text !== 'string') {
      throw new RealtimeError(
        'RT_PAYLOAD_INVALID',
      `\`text\` must be a string, got ${kindOf(text)}. Append only the text of each chunk of the model`
      )
    }
    this.#mustBeOpen()
    const bytes = this.#emptyBytes + this.#text.jsonBytes + jsonBytesOf(text)
    if (bytes > this.#context.maxPayloadBytes) {
      throw new RealtimeError(
        'RT_PAYLOAD_TOO_LARGE', `${bytes} of at most ${this.#context.maxPayloadBytes}`
      )
    }
    this.#text.append(text)
    this.#flushes.soon()
    // The lease may have expired and another instance may have ended the bot message: confirm the lease first.
    if (performance.now() - this.#lease.confirmedAt < this.#context.leaseMs) return
    await this.#flushes.now()
    this.#mustBeOpen()
  }

  #mustBeOpen (): void {
    const state = this.#state
    if (state.name === 'open') return
    throw new RealtimeError('RT_BOT_MESSAGE_ENDED', state.name === 'ended' ? state.end.status : state.ending.status)
  }

  /** Writes the text so far. Retries until that succeeds or the bot message is not open any more. Never rejects. */
  async #writeAll (): Promise<void> {
    while (this.#state.name === 'open') {
      try {
        return await this.#write()
      } catch (error) {
        const { code } = error as RealtimeError
        if (code === 'RT_CLOSED') this.#ended('interrupted')
        else logRepeated(this.#context.log, WRITING, { chatId: this.#context.chatId, code }, code)
        if (this.#state.name === 'open') await delay(timing.redisRetryMax, undefined, { ref: false })
      }
    }
  }

  async #write (): Promise<void> {
    const piece = this.#text.unwritten
    const receipt = await this.#change({
      operation: 'append',
      field: fieldOf(this.id),
      value: piece,
      leaseMs: this.#context.leaseMs,
      owner: this.#owner,
      at: this.#text.writtenBytes
    })
    if (receipt.outcome !== 'done') await this.#recover(receipt)
    else this.#text.addWritten(piece)
  }

  /**
   * Writes the text again if Redis has lost all of it, or its last part. If the bot message was finalized elsewhere, it
   * has ended. Resolves with true if it goes on.
   */
  async #recover ({ outcome, epoch }: StateReceipt): Promise<boolean> {
    if (outcome === 'behind' || epoch !== this.#lease.epoch) {
      const text = this.#text.writable
      const receipt = await this.#put(text)
      if (receipt.outcome === 'done') {
        this.#text.setWritten(text)
        return true
      }
    }
    // If this writer is finalizing, it may have ended the bot message itself, and `#tryToFinalize` knows how it ended.
    if (this.#state.name === 'open') this.#ended('interrupted')
    return false
  }

  /** Opens the bot message in the state, with the given text. */
  #put (value: string): Promise<StateReceipt> {
    return this.#change({
      operation: 'open',
      field: fieldOf(this.id),
      value,
      leaseMs: this.#context.leaseMs,
      owner: this.#owner,
      key: endKeyOf(this.id)
    })
  }

  async #change (request: StateRequest): Promise<StateReceipt> {
    const at = performance.now()
    const receipt = await this.#context.store.change(this.channel, request)
    if (receipt.outcome === 'done') this.#confirmLease(receipt.epoch, at)
    return receipt
  }

  #confirmLease (epoch: string, at: number): void {
    this.#lease = { epoch, confirmedAt: Math.max(this.#lease.confirmedAt, at) }
  }

  /** Requests the end. The first request decides how the bot message ends; a later one waits for the same end. */
  #endAs (ending: Ending): Promise<BotMessageEnd> {
    const state = this.#state
    if (state.name === 'ended') return Promise.resolve(state.end)
    if (state.name === 'finalizing') return this.#attempt(state)
    const finalizing: Finalizing = { name: 'finalizing', ending, attempt: undefined, mayHaveEnded: false }
    this.#to(finalizing)
    return this.#attempt(finalizing)
  }

  /** Begins an attempt to finalize, or joins the one in progress. */
  #attempt (finalizing: Finalizing): Promise<BotMessageEnd> {
    const attempt = finalizing.attempt ??= this.#finalize(finalizing)
    attempt.catch(() => {})
    return attempt
  }

  async #finalize (finalizing: Finalizing): Promise<BotMessageEnd> {
    try {
      return await this.#tryToFinalize(finalizing)
    } catch (error) {
      finalizing.attempt = undefined
      const { code } = error as RealtimeError
      // The final event is invalid or too large. Open again, so that the app can end it with another one.
      if (code === 'RT_PAYLOAD_TOO_LARGE' || code === 'RT_PAYLOAD_INVALID') this.#to(OPEN)
      else if (code !== 'RT_PUBLISH_REJECTED') finalizing.mayHaveEnded = true
      throw error
    }
  }

  async #tryToFinalize (finalizing: Finalizing): Promise<BotMessageEnd> {
    const { ending } = finalizing
    const finalization = {
      field: fieldOf(this.id), owner: this.#owner, event: this.#event(ending), key: endKeyOf(this.id)
    }
    for (;;) {
      const receipt = await this.#context.store.finalize(this.channel, finalization)
      // A duplicate means that another instance has ended it, unless it was an earlier attempt of this one.
      if ('duplicate' in receipt) {
        return this.#ended(receipt.duplicate && !finalizing.mayHaveEnded ? 'interrupted' : ending.status)
      }
      if (!await this.#recover({ outcome: 'gone', epoch: receipt.epoch })) return this.#ended('interrupted')
    }
  }

  #bytesOf (ending: Ending): number {
    return Buffer.byteLength(JSON.stringify(this.#event(ending)))
  }

  #event (ending: Ending): object {
    return botMessage(this.#context.chatId, { id: this.id, at: 0, text: this.#text.whole, ...ending })
  }

  /** Ends the bot message, unless it has ended already. Returns how it has ended. */
  #ended (status: BotMessageStatus): BotMessageEnd {
    const end = this.#state.name === 'ended' ? this.#state.end : { status }
    this.#to({ name: 'ended', end })
    return end
  }
}
