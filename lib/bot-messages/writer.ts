import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { contentOf, type BotMessageContent } from './content.ts'
import {
  checkFinalEvent, endKeyOf, fieldOf, finalEvent, finalizationOf, mostRepeated,
  type BotMessageHeader, type BotMessageStatus, type Ending, type FinalEvent
} from './fields.ts'
import { FlushWindow } from './flush-window.ts'
import type { BotMessageExtra } from '../event-types.ts'
import { RealtimeError, type RealtimeErrorCode } from '../errors.ts'
import type { Logger } from '../core/logger.ts'
import type { PublishReceipt } from '../pubsub/provider.ts'
import type { Finalization, StateReceipt, StateRequest, StateStore } from '../pubsub/state-store.ts'
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
  /** Milliseconds for which additions are collected into one piece. */
  windowMs: number
  leaseMs: number
  /** The most bytes that the content may take. */
  maxBytes: number
  /** The most bytes that the final event, or one chunk, may take. */
  maxPayloadBytes: number
  log: Logger
  /** Called when the bot message has ended. */
  onEnd (): void
}

/** The result of a bot message that has ended. */
export interface BotMessageEnd {
  /**
   * The final status. Differs from the requested one if the bot message was stopped or its lease had expired before.
   */
  status: BotMessageStatus
}

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

/** The codes of errors that say that the final event is invalid or too large. */
const INVALID_ENDS: RealtimeErrorCode[] = [
  'RT_PAYLOAD_INVALID', 'RT_PAYLOAD_TOO_LARGE', 'RT_BOT_MESSAGE_EXTRA_TOO_LARGE'
]

/**
 * Writes one bot message that this instance produces. It grows while it is `open`. It is `finalizing` from the first
 * request to end it, and `ended` once the outcome is known, or once the lease is found lost.
 */
export class BotMessageWriter {
  readonly id: string
  readonly channel: string
  readonly #context: BotMessageWriterContext
  readonly #owner = randomBytes(12).toString('base64url')
  readonly #abort = new AbortController()
  readonly #header: BotMessageHeader
  readonly #content: BotMessageContent
  /** The length of the content that was written to the state. */
  #written = 0
  readonly #flushes: FlushWindow
  #state: Open | Finalizing | Ended = OPEN
  /** The lease as it was last confirmed: the epoch of the state, and a monotonic time. */
  #lease = { epoch: '', confirmedAt: 0 }

  constructor (id: string, header: BotMessageHeader, context: BotMessageWriterContext) {
    this.id = id
    this.channel = context.channel
    this.#header = header
    this.#content = contentOf(header.format, context.maxPayloadBytes)
    this.#context = context
    this.#flushes = new FlushWindow({
      windowMs: context.windowMs,
      flush: () => this.#writeAll(),
      isDue: () => this.#isDue()
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
    const { outcome } = await this.#put()
    if (outcome !== 'done') throw new RealtimeError('RT_BOT_MESSAGE_EXISTS')
  }

  /**
   * Appends text, or a chunk if the format is `chunks`: any JSON object of at most `maxPayloadBytes`. Resolves at once.
   * If Redis has been unreachable for longer than the lease, resolves once the lease is confirmed again; what waits
   * becomes one piece. Rejects with `RT_BOT_MESSAGE_ENDED`, `RT_PAYLOAD_INVALID`, `RT_PAYLOAD_TOO_LARGE` for one chunk,
   * or `RT_BOT_MESSAGE_TOO_LARGE` if the bot message would take more than `maxBotMessageBytes`: finish it then. If the
   * promise is not awaited, its rejection causes no `unhandledRejection`.
   */
  append (addition: string | object): Promise<void> {
    const appended = this.#append(addition)
    appended.catch(() => {})
    return appended
  }

  /**
   * Ends the bot message: an event of the log replaces its pieces. It repeats the whole content if that fits into
   * `maxPayloadBytes` and 256 KiB. Resolves with the final status. Rejects as `publish` does; the writer then retries
   * by itself until the outcome is known. If `extra` is not JSON, or is too large, the bot message stays open: finish
   * it without. The code is then `RT_PAYLOAD_INVALID`, `RT_PAYLOAD_TOO_LARGE`, or `RT_BOT_MESSAGE_EXTRA_TOO_LARGE` if
   * the end would take more than 256 KiB, whatever `maxPayloadBytes` is.
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
    return this.#endAs(this.#fits(described) ? described : ending)
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
      // In a new epoch a part may be lost.
      if (!isGone && epoch === this.#lease.epoch) return this.#confirmLease(epoch, at)
      await this.#recover(epoch).catch(() => {})
      if (this.#isDue()) this.#flushes.soon()
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
    else if (this.#hasUnwritten) this.#flushes.soon()
    if (state.name !== 'ended') return
    this.#context.onEnd()
    const { status } = state.end
    if (status === 'interrupted') this.#abort.abort(new RealtimeError('RT_BOT_MESSAGE_ENDED', status))
  }

  async #append (addition: string | object): Promise<void> {
    const encoded = this.#content.encode(addition)
    this.#mustBeOpen()
    const bytes = this.#content.bytes + Buffer.byteLength(encoded)
    const { maxBytes, leaseMs } = this.#context
    if (bytes > maxBytes) throw new RealtimeError('RT_BOT_MESSAGE_TOO_LARGE', `${bytes} of at most ${maxBytes}`)
    this.#content.append(encoded)
    this.#flushes.soon()
    // The lease may have expired and another instance may have ended the bot message: confirm the lease first.
    if (performance.now() - this.#lease.confirmedAt < leaseMs) return
    await this.#flushes.now()
    this.#mustBeOpen()
  }

  get #hasUnwritten (): boolean {
    return this.#content.length > this.#written
  }

  #isDue (): boolean {
    return this.#state.name === 'open' && this.#hasUnwritten
  }

  #mustBeOpen (): void {
    const state = this.#state
    if (state.name === 'open') return
    throw new RealtimeError('RT_BOT_MESSAGE_ENDED', state.name === 'ended' ? state.end.status : state.ending.status)
  }

  /** Writes all so far. Retries until that succeeds or the bot message is not open any more. Never rejects. */
  async #writeAll (): Promise<void> {
    // What is appended meanwhile waits for the next window.
    const { length } = this.#content
    // The first piece is written even if it is empty, since it confirms the lease.
    let isConfirmed = false
    while (this.#state.name === 'open' && (this.#written < length || !isConfirmed)) {
      try {
        await this.#write()
        isConfirmed = true
      } catch (error) {
        const { code } = error as RealtimeError
        if (code === 'RT_CLOSED') this.#ended('interrupted')
        else logRepeated(this.#context.log, WRITING, { chatId: this.#context.chatId, code }, code)
        if (this.#state.name === 'open') await delay(timing.redisRetryMax, undefined, { ref: false })
      }
    }
  }

  /** Writes the next piece. Resolves with false if the bot message has ended. */
  async #write (): Promise<boolean> {
    const piece = this.#content.pieceAt(this.#written)
    const { outcome, epoch, length } = await this.#change({
      operation: 'append', field: fieldOf(this.id), piece, leaseMs: this.#context.leaseMs, owner: this.#owner
    })
    if (outcome === 'gone') return await this.#recover(epoch)
    // If Redis has lost a part, the next pieces write it again.
    this.#written = length
    if (this.#isInStore) this.#content.forget(length)
    return true
  }

  /** Whether what was written is needed from the store only: it is never lost there, and no final event repeats it. */
  get #isInStore (): boolean {
    const { store, maxPayloadBytes } = this.#context
    return store.isLossless && this.#content.jsonBytes > mostRepeated(maxPayloadBytes)
  }

  /**
   * Opens the bot message again if Redis has lost it; its content is then written again. If the bot message was
   * finalized elsewhere, it has ended. Resolves with true if it goes on.
   */
  async #recover (epoch: string): Promise<boolean> {
    if (epoch !== this.#lease.epoch) {
      const receipt = await this.#put()
      if (receipt.outcome === 'done') {
        this.#written = receipt.length
        return true
      }
    }
    // If this writer is finalizing, it may have ended the bot message itself, and `#tryToFinalize` knows how it ended.
    if (this.#state.name === 'open') this.#ended('interrupted')
    return false
  }

  /** Opens the bot message in the state. */
  #put (): Promise<StateReceipt> {
    return this.#change({
      operation: 'open',
      field: fieldOf(this.id),
      value: JSON.stringify(this.#header),
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
      if (INVALID_ENDS.includes(code)) this.#to(OPEN)
      throw error
    }
  }

  async #tryToFinalize (finalizing: Finalizing): Promise<BotMessageEnd> {
    const { ending } = finalizing
    const event = this.#finalEvent(ending)
    checkFinalEvent(event)
    const finalization = finalizationOf(this.id, event, this.#owner)
    for (;;) {
      // What the final event does not repeat has to be read from the draft.
      if (finalization.keepContent) await this.#writeRest()
      const receipt = await this.#publishEnd(finalizing, finalization)
      // A duplicate means that another instance has ended it, unless it was an earlier attempt of this one.
      if ('duplicate' in receipt) {
        return this.#ended(receipt.duplicate && !finalizing.mayHaveEnded ? 'interrupted' : ending.status)
      }
      if (!await this.#recover(receipt.epoch)) return this.#ended('interrupted')
    }
  }

  async #publishEnd (
    finalizing: Finalizing, finalization: Finalization
  ): Promise<PublishReceipt | { epoch: string }> {
    try {
      return await this.#context.store.finalize(this.channel, finalization)
    } catch (error) {
      const { code } = error as RealtimeError
      if (code !== 'RT_PUBLISH_REJECTED' && !INVALID_ENDS.includes(code)) finalizing.mayHaveEnded = true
      throw error
    }
  }

  /**
   * Writes what was not written yet, unless the bot message has ended. At least one piece is written, even if it is
   * empty: Redis may have deleted content that was written, and answers how much it has. Rejects as `publish` does.
   */
  async #writeRest (): Promise<void> {
    while (await this.#write() && this.#hasUnwritten);
  }

  /** Whether the final event fits into `maxPayloadBytes` and 256 KiB without the content. */
  #fits (ending: Ending): boolean {
    const event = this.#finalEvent(ending, true)
    return Buffer.byteLength(JSON.stringify(event)) <= mostRepeated(this.#context.maxPayloadBytes)
  }

  /** `isShort` leaves the content out, as if it did not fit. */
  #finalEvent (ending: Ending, isShort = false): FinalEvent {
    const { chatId, maxPayloadBytes } = this.#context
    const { length, jsonBytes } = this.#content
    const maxBytes = mostRepeated(maxPayloadBytes)
    const joined = isShort || jsonBytes > maxBytes ? undefined : this.#content.joined
    return finalEvent(chatId, this.id, this.#header, ending, { length, joined }, maxBytes)
  }

  /** Ends the bot message, unless it has ended already. Returns how it has ended. */
  #ended (status: BotMessageStatus): BotMessageEnd {
    const end = this.#state.name === 'ended' ? this.#state.end : { status }
    this.#to({ name: 'ended', end })
    return end
  }
}
