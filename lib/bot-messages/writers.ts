import { randomUUID } from 'node:crypto'
import { BotMessageWriter, type BotMessageWriterContext, type BotMessageEnd } from './writer.ts'
import {
  checkBotMessageId, fieldOf, finalEvent, finalizationOf, mostRepeated, type BotMessageHeader, type EndingContent
} from './fields.ts'
import { checkOptions, invalid } from '../core/options.ts'
import type { BotMessageExtra, BotMessageFormat, BotMessageMeta } from '../event-types.ts'
import { RealtimeError, kindOf } from '../errors.ts'
import { readSource } from '../core/source-reader.ts'
import { toJson } from '../core/json.ts'
import { NAME } from '../core/names.ts'
import type { StateStore } from '../pubsub/state-store.ts'
import { getChatChannel } from '../pubsub/names.ts'
import { RepeatingTimer } from '../core/repeating-timer.ts'
import { logRepeated, originOf, type RepeatedFailure } from '../observability/repeated-failure.ts'

const DESCRIBING: RepeatedFailure = { level: 'error', message: 'describeError failed' }

type BotMessageWritersOptions = Pick<
  BotMessageWriterContext, 'windowMs' | 'leaseMs' | 'maxBytes' | 'maxPayloadBytes' | 'log'
> & {
  /** `undefined` if the provider keeps no state. */
  store: StateStore | undefined
}

/** Options of `startBotMessage`. All are optional. */
export interface StartBotMessageOptions {
  /**
   * The permanent id of this bot message, unique in its chat on all instances: 1 to 128 characters, but not `.` or
   * `..`, which no URL can carry.
   * @default a new UUID
   */
  id?: string | undefined
  /**
   * Data that goes along with every piece, such as the bot, the model, or what it replies to: an object of at most 4 kB
   * of JSON.
   * @default none
   */
  meta?: (BotMessageMeta & object) | undefined
  /**
   * What is appended: strings, or any JSON objects.
   * @default 'text'
   */
  format?: BotMessageFormat | undefined
  /**
   * What the chunks are: a name of 1 to 64 characters. `reply.sse.uiMessage` serves those of `ui-message`.
   * @default none
   */
  protocol?: string | undefined
}

/** Options of `streamBotMessage`. All are optional. */
export interface StreamBotMessageOptions extends StartBotMessageOptions {
  /**
   * Additional data of the final event, which must fit into `maxPayloadBytes` and 256 KiB with it. A function is called
   * when the text is complete.
   * @default none
   */
  extra?: (BotMessageExtra & object) | (() => BotMessageExtra & object | Promise<BotMessageExtra & object>) | undefined
  /**
   * Returns the description of an error for readers. The error itself is never sent, since it may contain secrets.
   * @default no description
   */
  describeError?: ((error: unknown) => string | undefined | Promise<string | undefined>) | undefined
}

/** How a bot message is written. */
export interface BotMessageWriting extends Pick<StreamBotMessageOptions, 'describeError'> {
  /** Appends all of it and ends it. If this rejects, the bot message ends as failed. */
  write (writer: BotMessageWriter): Promise<BotMessageEnd>
  /** Called before it ends as failed, with the description of the error: appends what the chunks say of it. */
  appendFailure? (writer: BotMessageWriter, description: string | undefined): Promise<void>
}

/**
 * The pieces of a bot message, or a function that returns them. The function gets a signal that aborts when the rest is
 * not needed.
 */
export type BotMessageSource = BotMessageStream |
  ((signal: AbortSignal) => BotMessageStream | Promise<BotMessageStream>)

/** The pieces of a bot message: texts, or chunks. */
export type BotMessageStream = ReadableStream<string | object> | AsyncIterable<string | object>

/** The bot messages that this instance produces. One timer renews all leases, with one command for each chat. */
export class BotMessageWriters {
  readonly #options: BotMessageWritersOptions
  readonly #writers = new Map<string, BotMessageWriter>()
  /** Bot messages that are being opened. */
  readonly #opening = new Map<string, Promise<unknown>>()
  /** When the last one was started. */
  #lastStart = 0
  readonly #renewal: RepeatingTimer
  /** The calls of `whenIdle` in progress. */
  readonly #waiting: { chatIds: Set<string>, resolve: (chatIds: Set<string>) => void }[] = []

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
    const { id = randomUUID(), meta, format = 'text', protocol } = checkOptions(options, 'id, meta, format or protocol')
    checkBotMessageId(id)
    const header = {
      format: checkFormat(format), protocol: checkProtocol(protocol), meta: checkMeta(meta), startedAt: this.#now()
    }
    if (store === undefined) throw new RealtimeError('RT_STATE_UNAVAILABLE')
    const key = keyOf(chatId, id)
    if (this.#writers.has(key)) throw new RealtimeError('RT_BOT_MESSAGE_EXISTS')
    const writer = new BotMessageWriter(id, header, {
      ...this.#options, store, chatId, channel, onEnd: () => this.#delete(chatId, key)
    })
    this.#writers.set(key, writer)
    this.#renewal.start()
    const opened = writer.open()
    this.#opening.set(key, opened.catch(() => {}))
    try {
      await opened
    } catch (error) {
      this.#delete(chatId, key)
      throw error
    } finally {
      this.#opening.delete(key)
    }
    return writer
  }

  /** The time, but later than at the last call: two can start in one millisecond, and a clock can be set back. */
  #now (): number {
    this.#lastStart = Math.max(Date.now(), this.#lastStart + 1)
    return this.#lastStart
  }

  /** Waits until the bot messages of a chat that this instance is opening are open: of all, or of one with an id. */
  async whenOpen (chatId: string, id?: string): Promise<void> {
    await Promise.all(id === undefined ? this.#openingIn(chatId) : [this.#opening.get(keyOf(chatId, id))])
  }

  #openingIn (chatId: string): Promise<unknown>[] {
    return [...this.#opening].filter(([key]) => (JSON.parse(key) as [string])[0] === chatId).map(([, opened]) => opened)
  }

  /** Streams all pieces of a source. Rejects as `start` does, and with the error of the source. */
  async stream (
    chatId: string, source: BotMessageSource, options: StreamBotMessageOptions | undefined
  ): Promise<BotMessageEnd & { id: string }> {
    // All arguments are checked before the bot message starts, since readers see it from then on.
    getChatChannel(chatId)
    checkSource(source)
    const { extra, describeError, ...given } = checkStreamOptions(options)
    return await this.write(chatId, given, {
      write: async (writer) => {
        await append(source, writer, given.format)
        return await writer.finish(typeof extra === 'function' ? await extra() : extra)
      },
      describeError
    })
  }

  /** Starts a bot message and writes it. Rejects as `start` and `write` do. */
  async write (
    chatId: string, options: StartBotMessageOptions, { write, describeError, appendFailure }: BotMessageWriting
  ): Promise<BotMessageEnd & { id: string }> {
    const writer = await this.start(chatId, options)
    const { id, signal } = writer
    try {
      return { id, ...await write(writer) }
    } catch (error) {
      // The bot message is already ending, and `fail` only waits for that end. An error of the source after its signal
      // has aborted does not count as a failure.
      if (signal.aborted) return { id, ...await writer.fail() }
      const description = await this.#describe(chatId, error, describeError)
      await appendFailure?.(writer, description).catch(() => {})
      await writer.fail(description).catch(() => {})
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
  async interrupt (chatId: string, id: string, header: BotMessageHeader, content: EndingContent): Promise<void> {
    const { store, maxPayloadBytes } = this.#options
    const event = finalEvent(chatId, id, header, { status: 'interrupted' }, content, mostRepeated(maxPayloadBytes))
    await store?.finalize(getChatChannel(chatId), finalizationOf(id, event))
  }

  /** Resolves once the last bot message in progress ends, with the chats of those that have ended meanwhile. */
  whenIdle (): Promise<Set<string>> {
    return new Promise((resolve) => { this.#waiting.push({ chatIds: new Set(), resolve }) })
  }

  /** Ends all bot messages as interrupted, since this instance will not produce the rest. */
  close (): void {
    const writers = [...this.#writers.values()]
    this.#writers.clear()
    this.#reportIdle()
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

  #delete (chatId: string, key: string): void {
    this.#writers.delete(key)
    for (const { chatIds } of this.#waiting) chatIds.add(chatId)
    if (this.#writers.size === 0) this.#reportIdle()
  }

  #reportIdle (): void {
    this.#renewal.stop()
    for (const { chatIds, resolve } of this.#waiting.splice(0)) resolve(chatIds)
  }
}

/** Appends all pieces of a source, until the signal of the bot message aborts. */
async function append (
  source: BotMessageSource, writer: BotMessageWriter, format: BotMessageFormat | undefined
): Promise<void> {
  const open = typeof source === 'function' ? () => streamOf(source, writer.signal) : source
  await readSource(open, writer.signal, (piece) => writer.append(checkPiece(piece, format)))
}

function keyOf (chatId: string, id: string): string {
  return JSON.stringify([chatId, id])
}

/** Returns what a source returns. Throws `RT_OPTION_INVALID` if that cannot be read. */
async function streamOf (
  source: Exclude<BotMessageSource, BotMessageStream>, signal: AbortSignal
): Promise<BotMessageStream> {
  const iterable = await source(signal)
  if (isAsyncIterable(iterable)) return iterable
  throw invalid(
    'source(signal)',
    'an async iterable of strings',
    iterable,
    'Return the iterable itself, or make `source` an async generator'
  )
}

function isAsyncIterable (value: unknown): value is BotMessageStream {
  return typeof (value as Partial<AsyncIterable<unknown>> | undefined | null)?.[Symbol.asyncIterator] === 'function'
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
  const checked = checkOptions(options, 'id, meta, format, protocol, extra or describeError')
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

/** Returns a piece unchanged if the format allows it. Throws `RT_PAYLOAD_INVALID` with its type otherwise. */
function checkPiece (piece: string | object, format: BotMessageFormat | undefined): string | object {
  if (typeof piece === 'string' || format === 'chunks') return piece
  const kind = ArrayBuffer.isView(piece) ? 'bytes' : kindOf(piece)
  throw new RealtimeError('RT_PAYLOAD_INVALID', `\`source\` must yield strings, got ${kind}. ` +
    'Yield only the text of each chunk, such as chunk.choices[0]?.delta?.content ?? "", ' +
    "decode bytes with a TextDecoder, or pass format: 'chunks'")
}

function checkFormat (format: unknown): BotMessageFormat {
  if (format === 'text' || format === 'chunks') return format
  throw invalid('options.format', "'text' or 'chunks'", format, 'Leave it out for a text')
}

function checkProtocol (protocol: unknown): string | undefined {
  if (protocol === undefined || (typeof protocol === 'string' && NAME.test(protocol))) return protocol
  throw invalid(
    'options.protocol', 'a name of 1 to 64 letters, digits, dots or hyphens', protocol, 'Leave it out if there is none'
  )
}

/** The most bytes of `meta`, which goes along with every piece. */
const MOST_META = 4_096

/** Returns a copy of the data. Throws `RT_OPTION_INVALID` or `RT_PAYLOAD_INVALID`. */
function checkMeta (meta: unknown): (BotMessageMeta & object) | undefined {
  if (meta === undefined) return undefined
  const json = toJson(meta)
  if (!json.startsWith('{')) throw invalid('options.meta', 'an object', meta, 'Leave it out if there is none')
  const bytes = Buffer.byteLength(json)
  if (bytes <= MOST_META) return JSON.parse(json) as BotMessageMeta & object
  throw new RealtimeError(
    'RT_OPTION_INVALID',
    `\`options.meta\` takes ${bytes} of at most ${MOST_META} bytes of JSON. It goes along with every piece: ` +
    'pass a reference to long data instead'
  )
}
