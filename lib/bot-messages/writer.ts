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

/** What an answer needs of those around it. */
export interface BotMessageWriterContext {
  chatId: string
  channel: string
  store: StateStore
  /** Milliseconds over which what is appended becomes one piece. */
  windowMs: number
  leaseMs: number
  /** Bytes that the event may take which ends it. */
  maxPayloadBytes: number
  log: Logger
  /** Called when it has ended. */
  onEnd (): void
}

/** How an answer has ended. */
export type BotMessageStatus = Exclude<BotMessage['status'], 'streaming'>

/** What is told of an answer that has ended. */
export interface BotMessageEnd {
  /** How it ended: not as was asked for if somebody has stopped it or its lease had run out before. */
  status: BotMessageStatus
}

type Ending = Pick<BotMessage, 'extra' | 'error'> & { status: BotMessageStatus }

/** One answer of a bot, while this instance produces it. */
export class BotMessageWriter {
  readonly id: string
  readonly channel: string
  readonly #context: BotMessageWriterContext
  readonly #owner = randomBytes(12).toString('base64url')
  readonly #abort = new AbortController()
  /** All that was appended. */
  #text = ''
  /** How much of it the state has: characters as JavaScript counts them, and bytes of UTF-8. */
  #sent = 0
  #sentBytes = 0
  /** What the event takes that will end it. */
  #eventBytes: number
  #epoch = ''
  /** When it was last sure to have its lease, by a clock that goes on while the process is stopped. */
  #leaseConfirmedAt = 0
  #flushedAt = -Infinity
  #timer: NodeJS.Timeout | undefined
  #flushing: Promise<void> | undefined
  /** How it shall end, and the attempt that is under way. */
  #ending: Ending | undefined
  /** Whether an attempt may have ended it of which nobody could tell. */
  #mayHaveEnded = false
  #finalizing: Promise<BotMessageEnd> | undefined
  #end: BotMessageEnd | undefined

  constructor (id: string, context: BotMessageWriterContext) {
    this.id = id
    this.channel = context.channel
    this.#context = context
    this.#eventBytes = this.#bytesOf({ status: 'interrupted' })
  }

  /** Aborts when nobody wants the rest: it was stopped, its lease has run out, or the app closes. Pass it on to the model. */
  get signal (): AbortSignal {
    return this.#abort.signal
  }

  /** Opens it. Rejects with `RT_BOT_MESSAGE_EXISTS`, or as `publish` does. */
  async open (): Promise<void> {
    const { outcome } = await this.#put('')
    if (outcome !== 'done') throw new RealtimeError('RT_BOT_MESSAGE_EXISTS')
  }

  /**
   * Adds text to the end. Resolves at once, and while Redis is out of reach for longer than the lease, once it is known that the answer goes
   * on: what waits becomes one piece. Rejects with `RT_BOT_MESSAGE_ENDED`, `RT_PAYLOAD_INVALID`, or `RT_PAYLOAD_TOO_LARGE` where the answer would take
   * more than `maxPayloadBytes`: finish it then. A promise that nobody looks at causes no `unhandledRejection`.
   */
  append (text: string): Promise<void> {
    const appended = this.#append(text)
    appended.catch(() => {})
    return appended
  }

  /** Ends it: all of it becomes one event of the log. Resolves with how it ended. Rejects as `publish` does, and tries again by itself until that is known. */
  finish (extra?: BotMessageExtra & object): Promise<BotMessageEnd> {
    return this.#endAs({ status: 'finished', ...extra !== undefined && { extra } })
  }

  /**
   * Ends it as failed, with what the reader shall be told of it: not the message of an error, which is for logs. It ends in any case: what is no
   * string, or does not fit, is left out. Settles as `finish` does.
   */
  fail (error?: string): Promise<BotMessageEnd> {
    const ending: Ending = { status: 'failed' }
    // The fields of an Error may hold secrets.
    const told: Ending = typeof error === 'string' ? { ...ending, error } : ending
    return this.#endAs(this.#bytesOf(told) > this.#context.maxPayloadBytes ? ending : told)
  }

  /** Ends it and aborts its signal. */
  async stop (status: 'stopped' | 'interrupted'): Promise<void> {
    // At first, so that who hears of it finds that it ends.
    const ended = this.#endAs({ status })
    this.#abort.abort(new RealtimeError('RT_BOT_MESSAGE_ENDED', status))
    await ended
  }

  #endAs (ending: Ending): Promise<BotMessageEnd> {
    const ended = this.#finalizing ?? this.#finalize(ending)
    ended.catch(() => {})
    return ended
  }

  /** Its lease was renewed, or not: then it has run out, or Redis has lost it. */
  async renewed (epoch: string, isGone: boolean, at: number): Promise<void> {
    if (this.#end !== undefined || this.#finalizing !== undefined) return
    // It could not be ended when that was asked for, as far as is known here.
    if (this.#ending !== undefined) await this.#endAs(this.#ending).catch(() => {})
    // In a new epoch its text may be lost.
    else if (isGone || epoch !== this.#epoch) await this.#recover({ outcome: 'gone', epoch }).catch(() => {})
    else this.#confirmLease(epoch, at)
  }

  async #append (text: string): Promise<void> {
    if (typeof text !== 'string') throw new RealtimeError('RT_PAYLOAD_INVALID', `\`text\` must be a string, got ${kindOf(text)}. Append the text of what the model gives only`)
    this.#mustBeOpen()
    const bytes = this.#eventBytes + Buffer.byteLength(JSON.stringify(text)) - 2 // Without its quotes.
    if (bytes > this.#context.maxPayloadBytes) throw new RealtimeError('RT_PAYLOAD_TOO_LARGE', `${bytes} of at most ${this.#context.maxPayloadBytes}`)
    this.#eventBytes = bytes
    this.#text += text
    this.#flushSoon()
    // After a long sleep somebody may have taken it for dead.
    if (performance.now() - this.#leaseConfirmedAt < this.#context.leaseMs) return
    await this.#flush()
    this.#mustBeOpen()
  }

  #mustBeOpen (): void {
    if (!this.#isOpen) throw new RealtimeError('RT_BOT_MESSAGE_ENDED', this.#end?.status ?? this.#ending?.status)
  }

  /** The first piece at once: it is what a reader waits for. */
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

  /** Writes what there is now, or until it has ended. */
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
    const receipt = await this.#change({ operation: 'append', field: fieldOf(this.id), value, leaseMs: this.#context.leaseMs, owner: this.#owner, at: this.#sentBytes })
    if (receipt.outcome !== 'done') await this.#recover(receipt)
    else this.#markSent(end)
  }

  /** Not half of a character: the other half comes with the next piece. */
  get #sendable (): number {
    const last = this.#text.charCodeAt(this.#text.length - 1)
    return last >= 0xd800 && last <= 0xdbff ? this.#text.length - 1 : this.#text.length
  }

  #markSent (end: number): void {
    this.#sentBytes += Buffer.byteLength(this.#text.slice(this.#sent, end))
    this.#sent = end
  }

  /** Puts it back where Redis has lost it, or its end. Where somebody has finalized it, it is over. Returns whether it goes on. */
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
    // Where it shall end, that may be why.
    if (this.#ending === undefined) this.#finished('interrupted')
    return false
  }

  /** Opens it in the state, with a text. */
  #put (value: string): Promise<StateReceipt> {
    return this.#change({ operation: 'open', field: fieldOf(this.id), value, leaseMs: this.#context.leaseMs, owner: this.#owner, key: endKeyOf(this.id) })
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

  /** It says too much to end: it goes on, so that it can end with less. */
  #goOn (): void {
    this.#ending = undefined
    if (this.#sendable > this.#sent) this.#flushSoon()
  }

  async #tryToFinalize (ending: Ending): Promise<BotMessageEnd> {
    const finalization = { field: fieldOf(this.id), owner: this.#owner, event: this.#event(ending), key: endKeyOf(this.id) }
    for (;;) {
      const receipt = await this.#context.store.finalize(this.channel, finalization)
      // Somebody else has ended it, if it was not an attempt of our own.
      if ('duplicate' in receipt) return this.#finished(receipt.duplicate && !this.#mayHaveEnded ? 'interrupted' : ending.status)
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
