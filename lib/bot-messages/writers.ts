import { randomUUID } from 'node:crypto'
import { BotMessageWriter, type BotMessageWriterContext, type BotMessageEnd } from './writer.ts'
import { botMessage, checkBotMessageId, endKeyOf, fieldOf } from './fields.ts'
import { checkOptions, invalid } from '../core/options.ts'
import type { BotMessageExtra } from '../event-types.ts'
import { RealtimeError, kindOf } from '../errors.ts'
import type { StateStore } from '../pubsub/state-store.ts'
import { getChatChannel } from '../pubsub/names.ts'
import { RepeatingTimer } from '../core/repeating-timer.ts'
import { logRepeated, originOf, type RepeatedFailure } from '../observability/repeated-failure.ts'

const DESCRIBING: RepeatedFailure = { level: 'error', message: 'describeError failed' }

type BotMessageWritersOptions = Pick<
  BotMessageWriterContext, 'windowMs' | 'leaseMs' | 'maxPayloadBytes' | 'log'
> & {
  /** `undefined` if the provider keeps no state. */
  store: StateStore | undefined
}

/** Options of `startBotMessage`. All are optional. */
export interface StartBotMessageOptions {
  /**
   * The permanent id of this bot message, unique in its chat on all instances: 1 to 128 characters.
   * @default a new UUID
   */
  id?: string | undefined
}

/** Options of `streamBotMessage`. All are optional. */
export interface StreamBotMessageOptions extends StartBotMessageOptions {
  /**
   * Additional data of the final event. A function is called when the text is complete.
   * @default none
   */
  extra?: (BotMessageExtra & object) | (() => BotMessageExtra & object | Promise<BotMessageExtra & object>) | undefined
  /**
   * Returns the description of an error for readers. The error itself is never sent, since it may contain secrets.
   * @default no description
   */
  describeError?: ((error: unknown) => string | undefined | Promise<string | undefined>) | undefined
}

/**
 * The pieces of a bot message, or a function that returns them. The function gets a signal that aborts when the rest is
 * not needed.
 */
export type BotMessageSource = AsyncIterable<string> |
  ((signal: AbortSignal) => AsyncIterable<string> | Promise<AsyncIterable<string>>)

/** The bot messages that this instance produces. One timer renews all leases, with one command for each chat. */
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

  /**
   * Rejects with `RT_CHAT_ID_INVALID`, `RT_BOT_MESSAGE_ID_INVALID`, `RT_BOT_MESSAGE_EXISTS`, `RT_STATE_UNAVAILABLE`,
   * or as `publish` does.
   */
  async start (chatId: string, options: StartBotMessageOptions | undefined): Promise<BotMessageWriter> {
    const { store } = this.#options
    const channel = getChatChannel(chatId)
    const { id = randomUUID() } = checkOptions(options, 'id')
    checkBotMessageId(id)
    if (store === undefined) throw new RealtimeError('RT_STATE_UNAVAILABLE')
    const key = keyOf(chatId, id)
    if (this.#writers.has(key)) throw new RealtimeError('RT_BOT_MESSAGE_EXISTS')
    const writer = new BotMessageWriter(id, {
      ...this.#options, store, chatId, channel, onEnd: () => this.#delete(key)
    })
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

  /** Streams all pieces of a source. Rejects as `start` does, and with the error of the source. */
  async stream (
    chatId: string, source: BotMessageSource, options: StreamBotMessageOptions | undefined
  ): Promise<BotMessageEnd & { id: string }> {
    // All arguments are checked before the bot message starts, since readers see it from then on.
    getChatChannel(chatId)
    checkSource(source)
    const { extra, describeError, id: given } = checkStreamOptions(options)
    const writer = await this.start(chatId, { id: given })
    const { id, signal } = writer
    try {
      for await (const text of untilAborted(source, signal)) await writer.append(checkPiece(text))
      return { id, ...await writer.finish(typeof extra === 'function' ? await extra() : extra) }
    } catch (error) {
      // The bot message is already ending, and `fail` only waits for that end. An error of the source after its signal
      // has aborted does not count as a failure.
      if (signal.aborted) return { id, ...await writer.fail() }
      await writer.fail(await this.#describe(chatId, error, describeError)).catch(() => {})
      throw error
    }
  }

  /** Resolves with the description of an error. If `describeError` fails, the bot message ends without one. */
  async #describe (
    chatId: string, error: unknown, describeError: StreamBotMessageOptions['describeError']
  ): Promise<string | undefined> {
    try {
      return await describeError?.(error)
    } catch (err) {
      logRepeated(this.#options.log, DESCRIBING, { chatId, err }, originOf(err))
      return undefined
    }
  }

  /** Whether this instance produces the bot message. */
  has (chatId: string, id: string): boolean {
    return this.#writers.has(keyOf(chatId, id))
  }

  /** Stops a bot message if this instance produces it. */
  async stop (chatId: string, id: string): Promise<void> {
    await this.#writers.get(keyOf(chatId, id))?.stop('stopped')
  }

  /** Ends a bot message whose producer has died, unless it has ended already. Rejects as `publish` does. */
  async interrupt (chatId: string, id: string, text: string): Promise<void> {
    const event = botMessage(chatId, { id, status: 'interrupted', at: 0, text })
    await this.#options.store?.finalize(getChatChannel(chatId), { field: fieldOf(id), event, key: endKeyOf(id) })
  }

  /** Ends all bot messages as interrupted, since this instance will not produce the rest. */
  close (): void {
    const writers = [...this.#writers.values()]
    this.#writers.clear()
    this.#renewal.stop()
    for (const writer of writers) writer.stop('interrupted').catch(() => {})
  }

  async #renew (): Promise<void> {
    const store = this.#options.store as StateStore // No bot message is open without a store.
    const channels = new Map<string, BotMessageWriter[]>()
    for (const writer of this.#writers.values()) {
      channels.set(
        writer.channel, [...channels.get(writer.channel) ?? [], writer]
      )
    }
    const at = performance.now()
    await Promise.all([...channels].map(async ([channel, writers]) => {
      // Writers that have ended meanwhile ignore the renewal.
      const renewed = await store.renew(channel, writers.map(({ id }) => fieldOf(id)), this.#options.leaseMs)
        .catch(() => undefined)
      // Redis is unavailable. The next renewal tries again.
      if (renewed === undefined) return
      await Promise.all(writers.map((writer) =>
        writer.renewed(renewed.epoch, renewed.gone.includes(fieldOf(writer.id)), at)))
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
  throw invalid(
    'source(signal)',
    'an async iterable of strings',
    iterable,
    'Return the iterable itself, or make `source` an async generator'
  )
}

function isAsyncIterable (value: unknown): value is AsyncIterable<string> {
  return typeof (value as Partial<AsyncIterable<string>> | undefined | null)?.[Symbol.asyncIterator] === 'function'
}

function checkSource (source: unknown): void {
  if (typeof source === 'function' || isAsyncIterable(source)) return
  throw invalid(
    'source',
    'an async iterable of strings, or a function that returns one',
    source,
    'Use startBotMessage and append for text that is there already'
  )
}

function checkStreamOptions (options: StreamBotMessageOptions | undefined): Partial<StreamBotMessageOptions> {
  const checked = checkOptions(options, 'id, extra or describeError')
  const { extra, describeError } = checked
  if (extra === null || !['undefined', 'object', 'function'].includes(typeof extra)) {
    throw invalid(
      'options.extra', 'an object, or a function that returns one', extra, 'Leave it out if there is none'
    )
  }
  if (!['undefined', 'function'].includes(typeof describeError)) {
    throw invalid(
      'options.describeError', 'a function', describeError, 'Return what readers may know of an error from it'
    )
  }
  return checked
}

/** Returns a piece unchanged if it is a string. Throws `RT_PAYLOAD_INVALID` with its type otherwise. */
function checkPiece (piece: unknown): string {
  if (typeof piece === 'string') return piece
  const kind = ArrayBuffer.isView(piece) ? 'bytes' : kindOf(piece)
  throw new RealtimeError('RT_PAYLOAD_INVALID', `\`source\` must yield strings, got ${kind}. ` +
    'Yield only the text of each chunk, such as chunk.choices[0]?.delta?.content ?? "", ' +
    'and decode bytes with a TextDecoder')
}

/** Yields the pieces of the source until the signal aborts, even while the source hangs. */
async function * untilAborted (source: BotMessageSource, signal: AbortSignal): AsyncGenerator<string> {
  if (signal.aborted) return
  const aborted = new Promise<undefined>((resolve) =>
    signal.addEventListener('abort', () => resolve(undefined), { once: true }))
  const iterator = (await Promise.race([iterableOf(source, signal), aborted]))?.[Symbol.asyncIterator]()
  if (iterator === undefined) return
  try {
    while (!signal.aborted) {
      const next = await Promise.race([iterator.next(), aborted])
      if (next === undefined || next.done === true) return
      yield next.value
    }
  } finally {
    // Not awaited: `return()` of a generator that hangs in an `await` would never settle.
    Promise.resolve().then(() => iterator.return?.()).catch(() => {})
  }
}
