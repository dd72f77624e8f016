import { randomUUID } from 'node:crypto'
import { BotMessageWriter, type BotMessageWriterContext, type BotMessageEnd } from './writer.ts'
import { botMessage, checkBotMessageId, endKeyOf, fieldOf } from './fields.ts'
import { checkOptions, invalid } from '../core/check-options.ts'
import type { BotMessageExtra } from '../event-types.ts'
import { RealtimeError, kindOf } from '../errors.ts'
import type { StateStore } from '../pubsub/state-store.ts'
import { getChatChannel } from '../pubsub/channel-name.ts'
import { RepeatingTimer } from '../core/repeating-timer.ts'
import { logRepeated, originOf, type RepeatedFailure } from '../observability/repeated-failure.ts'

const DESCRIBING: RepeatedFailure = { level: 'error', message: 'describeError failed' }

export type BotMessageWritersOptions = Pick<BotMessageWriterContext, 'windowMs' | 'leaseMs' | 'maxPayloadBytes' | 'log'> & {
  /** `undefined` where the provider keeps none. */
  store: StateStore | undefined
}

/** Options of `startBotMessage`. All can be left out. */
export interface StartBotMessageOptions {
  /** Names this answer for ever, and on every instance: 1 to 128 characters. @default a new UUID */
  id?: string | undefined
}

/** Options of `streamBotMessage`. All can be left out. */
export interface StreamBotMessageOptions extends StartBotMessageOptions {
  /** What the last event carries beside the text. A function is called when the text is complete. @default nothing */
  extra?: (BotMessageExtra & object) | (() => BotMessageExtra & object | Promise<BotMessageExtra & object>) | undefined
  /** What a reader shall be told of an error, which may say more than is good for him. @default nothing */
  describeError?: ((error: unknown) => string | undefined | Promise<string | undefined>) | undefined
}

/** The pieces of an answer, or what makes them, given a signal that aborts when nobody wants the rest. */
export type BotMessageSource = AsyncIterable<string> | ((signal: AbortSignal) => AsyncIterable<string> | Promise<AsyncIterable<string>>)

/** The answers that this instance produces. One timer renews all their leases, with one command for each chat. */
export class BotMessageWriters {
  readonly #options: BotMessageWritersOptions
  readonly #writers = new Map<string, BotMessageWriter>()
  readonly #renewal: RepeatingTimer

  constructor (options: BotMessageWritersOptions) {
    this.#options = options
    this.#renewal = new RepeatingTimer(Math.ceil(options.leaseMs / 3), () => this.#renew())
  }

  get size (): number {
    return this.#writers.size
  }

  /** Rejects with `RT_CHAT_ID_INVALID`, `RT_BOT_MESSAGE_ID_INVALID`, `RT_BOT_MESSAGE_EXISTS`, `RT_STATE_UNAVAILABLE`, or as `publish` does. */
  async start (chatId: string, options: StartBotMessageOptions | undefined): Promise<BotMessageWriter> {
    const { store } = this.#options
    const channel = getChatChannel(chatId)
    const { id = randomUUID() } = checkOptions(options, 'id')
    checkBotMessageId(id)
    if (store === undefined) throw new RealtimeError('RT_STATE_UNAVAILABLE')
    const key = keyOf(chatId, id)
    if (this.#writers.has(key)) throw new RealtimeError('RT_BOT_MESSAGE_EXISTS')
    const writer = new BotMessageWriter(id, { ...this.#options, store, chatId, channel, onEnd: () => this.#delete(key) })
    this.#writers.set(key, writer)
    this.#renewal.start()
    try {
      await writer.open()
    } catch (error) {
      this.#delete(key)
      throw error
    }
    return writer
  }

  /** Streams all that a source makes. Rejects as `start` does, and with what the source throws. */
  async stream (chatId: string, source: BotMessageSource, options: StreamBotMessageOptions | undefined): Promise<BotMessageEnd & { id: string }> {
    // Before anything is begun, which readers would see.
    getChatChannel(chatId)
    checkSource(source)
    const { extra, describeError, id: given } = checkStreamOptions(options)
    const writer = await this.start(chatId, { id: given })
    const { id, signal } = writer
    try {
      for await (const text of untilAborted(source, signal)) await writer.append(checkPiece(text))
      return { id, ...await writer.finish(typeof extra === 'function' ? await extra() : extra) }
    } catch (error) {
      // Whatever a source does that was told to stop is no failure.
      if (signal.aborted) return { id, ...await writer.fail() }
      await writer.fail(await this.#describe(chatId, error, describeError)).catch(() => {})
      throw error
    }
  }

  /** Without words for it the answer has failed all the same. */
  async #describe (chatId: string, error: unknown, describeError: StreamBotMessageOptions['describeError']): Promise<string | undefined> {
    try {
      return await describeError?.(error)
    } catch (err) {
      logRepeated(this.#options.log, DESCRIBING, { chatId, err }, originOf(err))
      return undefined
    }
  }

  /** Whether an answer is produced here. */
  has (chatId: string, id: string): boolean {
    return this.#writers.has(keyOf(chatId, id))
  }

  /** Stops an answer if it is produced here. */
  async stop (chatId: string, id: string): Promise<void> {
    await this.#writers.get(keyOf(chatId, id))?.stop('stopped')
  }

  /** Ends an answer whose producer is gone, if that was not done yet. Rejects as `publish` does. */
  async interrupt (chatId: string, id: string, text: string): Promise<void> {
    const event = botMessage(chatId, { id, status: 'interrupted', at: 0, text })
    await this.#options.store?.finalize(getChatChannel(chatId), { field: fieldOf(id), event, key: endKeyOf(id) })
  }

  /** Ends all answers: this instance won't produce the rest. */
  close (): void {
    const writers = [...this.#writers.values()]
    this.#writers.clear()
    this.#renewal.stop()
    for (const writer of writers) writer.stop('interrupted').catch(() => {})
  }

  async #renew (): Promise<void> {
    const store = this.#options.store as StateStore // No message is open without one.
    const channels = new Map<string, BotMessageWriter[]>()
    for (const writer of this.#writers.values()) channels.set(writer.channel, [...channels.get(writer.channel) ?? [], writer])
    const at = performance.now()
    await Promise.all([...channels].map(async ([channel, writers]) => {
      // Those that were ended meanwhile look after themselves.
      const renewed = await store.renew(channel, writers.map(({ id }) => fieldOf(id)), this.#options.leaseMs).catch(() => undefined)
      if (renewed === undefined) return
      await Promise.all(writers.map((writer) => writer.renewed(renewed.epoch, renewed.gone.includes(fieldOf(writer.id)), at)))
    }))
  }

  #delete (key: string): void {
    this.#writers.delete(key)
    if (this.#writers.size === 0) this.#renewal.stop()
  }
}

function keyOf (chatId: string, id: string): string {
  return JSON.stringify([chatId, id])
}

async function iterableOf (source: BotMessageSource, signal: AbortSignal): Promise<AsyncIterable<string>> {
  if (typeof source !== 'function') return source
  const iterable = await source(signal)
  if (isAsyncIterable(iterable)) return iterable
  throw invalid('source(signal)', 'an async iterable of strings', iterable, 'Return the iterable itself, or make `source` an async generator')
}

function isAsyncIterable (value: unknown): value is AsyncIterable<string> {
  return typeof (value as Partial<AsyncIterable<string>> | undefined | null)?.[Symbol.asyncIterator] === 'function'
}

function checkSource (source: unknown): void {
  if (typeof source === 'function' || isAsyncIterable(source)) return
  throw invalid('source', 'an async iterable of strings, or a function that returns one', source, 'Use startBotMessage and append for text that is there already')
}

function checkStreamOptions (options: StreamBotMessageOptions | undefined): Partial<StreamBotMessageOptions> {
  const checked = checkOptions(options, 'id, extra or describeError')
  const { extra, describeError } = checked
  if (extra === null || !['undefined', 'object', 'function'].includes(typeof extra)) throw invalid('options.extra', 'an object, or a function that returns one', extra, 'Leave it out where there is none')
  if (!['undefined', 'function'].includes(typeof describeError)) throw invalid('options.describeError', 'a function', describeError, 'Return what readers may know of an error from it')
  return checked
}

/** Names what a source yields that is no text. */
function checkPiece (piece: unknown): string {
  if (typeof piece === 'string') return piece
  const kind = ArrayBuffer.isView(piece) ? 'bytes' : kindOf(piece)
  throw new RealtimeError('RT_PAYLOAD_INVALID', `\`source\` must yield strings, got ${kind}. ` +
    'Yield the text of each chunk only, such as chunk.choices[0]?.delta?.content ?? "", and decode bytes with a TextDecoder')
}

/** What the source gives, or less: even while it hangs, it ends when the signal aborts. */
async function * untilAborted (source: BotMessageSource, signal: AbortSignal): AsyncGenerator<string> {
  if (signal.aborted) return
  const aborted = new Promise<undefined>((resolve) => signal.addEventListener('abort', () => resolve(undefined), { once: true }))
  const iterator = (await Promise.race([iterableOf(source, signal), aborted]))?.[Symbol.asyncIterator]()
  if (iterator === undefined) return
  try {
    while (!signal.aborted) {
      const next = await Promise.race([iterator.next(), aborted])
      if (next === undefined || next.done === true) return
      yield next.value
    }
  } finally {
    // Not awaited: a generator that hangs in an await of its own would never return.
    Promise.resolve().then(() => iterator.return?.()).catch(() => {})
  }
}
