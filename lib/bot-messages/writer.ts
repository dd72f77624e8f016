import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { botMessage, endKeyOf, fieldOf } from './fields.ts'
import type { BotMessage, BotMessageExtra } from '../event-types.ts'
import { RealtimeError, kindOf } from '../errors.ts'
import type { Logger } from '../core/logger.ts'
import type { StateReceipt, StateRequest, StateStore } from '../pubsub/state-store.ts'
import { logRepeated, type RepeatedFailure } from '../observability/repeated-failure.ts'
import { timing } from '../core/timing.ts'

const WRITING: RepeatedFailure = {
  level: 'warn', message: 'A piece of a bot answer could not be written, trying again'
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

/** Writes one bot message that this instance produces. */
export class BotMessageWriter {
  readonly id: string
  readonly channel: string
  readonly #context: BotMessageWriterContext
  readonly #owner = randomBytes(12).toString('base64url')
  readonly #abort = new AbortController()
  /** The whole text appended so far. */
  #text = ''
  /** How much of the text is in the state: in UTF-16 code units, and in bytes of UTF-8. */
  #sent = 0
  #sentBytes = 0
  /** The size of the final event with the text so far, in bytes. */
  #eventBytes: number
  #epoch = ''
  /** Monotonic time at which the lease was last confirmed. */
  #leaseConfirmedAt = 0
  #flushedAt = -Infinity
  #timer: NodeJS.Timeout | undefined
  #flushing: Promise<void> | undefined
  /** The requested end; `#finalizing` is the attempt in progress. */
  #ending: Ending | undefined
  /** An earlier finalize has an unknown outcome (reply lost). */
  #mayHaveEnded = false
  #finalizing: Promise<BotMessageEnd> | undefined
  #end: BotMessageEnd | undefined

  constructor (id: string, context: BotMessageWriterContext) {
    this.id = id
    this.channel = context.channel
    this.#context = context
    this.#eventBytes = this.#bytesOf({ status: 'interrupted' })
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
    // Set the end first, so that listeners of the signal find the bot message ending.
    const ended = this.#endAs({ status })
    this.#abort.abort(new RealtimeError('RT_BOT_MESSAGE_ENDED', status))
    await ended
  }

  #endAs (ending: Ending): Promise<BotMessageEnd> {
    const ended = this.#finalizing ?? this.#finalize(ending)
    ended.catch(() => {})
    return ended
  }

  /** Handles a renewal of the lease. `isGone` means that the lease has expired, or that Redis has lost the field. */
  async renewed (epoch: string, isGone: boolean, at: number): Promise<void> {
    if (this.#end !== undefined || this.#finalizing !== undefined) return
    // Retry the end: the previous attempt failed or has an unknown outcome.
    if (this.#ending !== undefined) await this.#endAs(this.#ending).catch(() => {})
    // In a new epoch the text may be lost.
    else if (isGone || epoch !== this.#epoch) await this.#recover({ outcome: 'gone', epoch }).catch(() => {})
    else this.#confirmLease(epoch, at)
  }

  async #append (text: string): Promise<void> {
    if (typeof text !== 'string') {
      throw new RealtimeError(
        'RT_PAYLOAD_INVALID',
      `\`text\` must be a string, got ${kindOf(text)}. Append the text of what the model gives only`
      )
    }
    this.#mustBeOpen()
    const bytes = this.#eventBytes + Buffer.byteLength(JSON.stringify(text)) - 2 // Without the quotes.
    if (bytes > this.#context.maxPayloadBytes) {
      throw new RealtimeError(
        'RT_PAYLOAD_TOO_LARGE', `${bytes} of at most ${this.#context.maxPayloadBytes}`
      )
    }
    this.#eventBytes = bytes
    this.#text += text
    this.#flushSoon()
    // The lease may have expired and another instance may have ended the bot message: confirm the lease first.
    if (performance.now() - this.#leaseConfirmedAt < this.#context.leaseMs) return
    await this.#flush()
    this.#mustBeOpen()
  }

  #mustBeOpen (): void {
    if (!this.#isOpen) throw new RealtimeError('RT_BOT_MESSAGE_ENDED', this.#end?.status ?? this.#ending?.status)
  }

  /** Schedules a flush. The first piece is written at once, since readers are waiting for it. */
  #flushSoon (): void {
    if (this.#flushing !== undefined) return
    const ms = this.#flushedAt + this.#context.windowMs - performance.now()
    if (ms <= 0) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), ms)
  }

  /** Never rejects. */
  #flush (): Promise<void> {
    this.#stopTimer()
    this.#flushing ??= this.#writeAll().finally(() => {
      this.#flushing = undefined
      if (this.#sendable > this.#sent && this.#isOpen) this.#flushSoon()
    })
    return this.#flushing
  }

  #stopTimer (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  get #isOpen (): boolean {
    return this.#end === undefined && this.#ending === undefined
  }

  /** Writes the text so far. Retries until that succeeds or the bot message has ended. */
  async #writeAll (): Promise<void> {
    this.#flushedAt = performance.now()
    while (this.#isOpen) {
      try {
        return await this.#write()
      } catch (error) {
        const { code } = error as RealtimeError
        if (code === 'RT_CLOSED') this.#finished('interrupted')
        else logRepeated(this.#context.log, WRITING, { chatId: this.#context.chatId, code }, code)
        if (this.#isOpen) await delay(timing.redisRetryMax, undefined, { ref: false })
      }
    }
  }

  async #write (): Promise<void> {
    const end = this.#sendable
    const value = this.#text.slice(this.#sent, end)
    const receipt = await this.#change({
      operation: 'append',
      field: fieldOf(this.id),
      value,
      leaseMs: this.#context.leaseMs,
      owner: this.#owner,
      at: this.#sentBytes
    })
    if (receipt.outcome !== 'done') await this.#recover(receipt)
    else this.#markSent(end)
  }

  /** The end of the text that can be written: not inside a surrogate pair, whose second half is still to come. */
  get #sendable (): number {
    const last = this.#text.charCodeAt(this.#text.length - 1)
    return last >= 0xd800 && last <= 0xdbff ? this.#text.length - 1 : this.#text.length
  }

  #markSent (end: number): void {
    this.#sentBytes += Buffer.byteLength(this.#text.slice(this.#sent, end))
    this.#sent = end
  }

  /**
   * Writes the text again if Redis has lost all of it, or its last part. If the bot message was finalized elsewhere, it
   * has ended. Resolves with whether it goes on.
   */
  async #recover ({ outcome, epoch }: StateReceipt): Promise<boolean> {
    if (outcome === 'behind' || epoch !== this.#epoch) {
      const end = this.#sendable
      const receipt = await this.#put(this.#text.slice(0, end))
      if (receipt.outcome === 'done') {
        this.#sent = this.#sentBytes = 0
        this.#markSent(end)
        return true
      }
    }
    // If an end was requested, an attempt of this writer may have finalized it.
    if (this.#ending === undefined) this.#finished('interrupted')
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
    this.#epoch = epoch
    this.#leaseConfirmedAt = Math.max(this.#leaseConfirmedAt, at)
  }

  async #finalize (ending: Ending): Promise<BotMessageEnd> {
    if (this.#end !== undefined) return this.#end
    this.#ending ??= ending
    this.#stopTimer()
    this.#finalizing = this.#tryToFinalize(this.#ending)
    try {
      return await this.#finalizing
    } catch (error) {
      this.#finalizing = undefined
      const { code } = error as RealtimeError
      if (code === 'RT_PAYLOAD_TOO_LARGE' || code === 'RT_PAYLOAD_INVALID') this.#goOn()
      else if (code !== 'RT_PUBLISH_REJECTED') this.#mayHaveEnded = true
      throw error
    }
  }

  /** The final event is invalid or too large: the bot message stays open, so that it can end with a smaller event. */
  #goOn (): void {
    this.#ending = undefined
    if (this.#sendable > this.#sent) this.#flushSoon()
  }

  async #tryToFinalize (ending: Ending): Promise<BotMessageEnd> {
    const finalization = {
      field: fieldOf(this.id), owner: this.#owner, event: this.#event(ending), key: endKeyOf(this.id)
    }
    for (;;) {
      const receipt = await this.#context.store.finalize(this.channel, finalization)
      // A duplicate means that another instance has ended it, unless it was an earlier attempt of this one.
      if ('duplicate' in receipt) {
        return this.#finished(
          receipt.duplicate && !this.#mayHaveEnded ? 'interrupted' : ending.status
        )
      }
      if (!await this.#recover({ outcome: 'gone', epoch: receipt.epoch })) return this.#finished('interrupted')
    }
  }

  #bytesOf (ending: Ending): number {
    return Buffer.byteLength(JSON.stringify(this.#event(ending)))
  }

  #event (ending: Ending): object {
    return botMessage(this.#context.chatId, { id: this.id, at: 0, text: this.#text, ...ending })
  }

  #finished (status: BotMessageStatus): BotMessageEnd {
    if (this.#end !== undefined) return this.#end
    this.#end = { status }
    this.#context.onEnd()
    if (status === 'interrupted') this.#abort.abort(new RealtimeError('RT_BOT_MESSAGE_ENDED', status))
    return this.#end
  }
}
