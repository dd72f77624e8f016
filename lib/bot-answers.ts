import { randomUUID } from 'node:crypto'
import { BotAnswer, type BotAnswerContext, type BotMessageEnd } from './bot-answer.ts'
import { botMessage, checkAnswerId, endKeyOf, fieldOf } from './bot-message.ts'
import { checkOptions, invalid } from './check-options.ts'
import type { BotMessageExtra } from './chat-event-map.ts'
import { RealtimeError, kindOf } from './errors.ts'
import type { StateStore } from './pubsub/state-store.ts'
import { getChatChannel } from './pubsub/channel.ts'
import { RepeatingTimer } from './repeating-timer.ts'
import { logRepeated, placeOf, type RepeatedFailure } from './repeated-failure.ts'

const DESCRIBING: RepeatedFailure = { level: 'error', message: 'describeError failed' }

export type BotAnswersOptions = Pick<BotAnswerContext, 'windowMs' | 'leaseMs' | 'maxPayloadBytes' | 'log'> & {
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
export class BotAnswers {
  readonly #options: BotAnswersOptions
  readonly #answers = new Map<string, BotAnswer>()
  readonly #renewal: RepeatingTimer

  constructor (options: BotAnswersOptions) {
    this.#options = options
    this.#renewal = new RepeatingTimer(Math.ceil(options.leaseMs / 3), () => this.#renew())
  }

  get size (): number {
    return this.#answers.size
  }

  /** Rejects with `RT_CHAT_ID_INVALID`, `RT_ANSWER_ID_INVALID`, `RT_ANSWER_EXISTS`, `RT_STATE_UNAVAILABLE`, or as `publish` does. */
  async start (chatId: string, options: StartBotMessageOptions | undefined): Promise<BotAnswer> {
    const { store } = this.#options
    const channel = getChatChannel(chatId)
    const { id = randomUUID() } = checkOptions(options, 'id')
    checkAnswerId(id)
    if (store === undefined) throw new RealtimeError('RT_STATE_UNAVAILABLE')
    const key = keyOf(chatId, id)
    if (this.#answers.has(key)) throw new RealtimeError('RT_ANSWER_EXISTS')
    const answer = new BotAnswer(id, { ...this.#options, store, chatId, channel, onEnd: () => this.#delete(key) })
    this.#answers.set(key, answer)
    this.#renewal.start()
    try {
      await answer.open()
    } catch (error) {
      this.#delete(key)
      throw error
    }
    return answer
  }

  /** Streams all that a source makes. Rejects as `start` does, and with what the source throws. */
  async stream (chatId: string, source: BotMessageSource, options: StreamBotMessageOptions | undefined): Promise<BotMessageEnd & { id: string }> {
    // Before anything is begun, which readers would see.
    getChatChannel(chatId)
    checkSource(source)
    const { extra, describeError, id: given } = checkStreamOptions(options)
    const answer = await this.start(chatId, { id: given })
    const { id, signal } = answer
    try {
      for await (const text of untilAborted(source, signal)) await answer.append(checkPiece(text))
      return { id, ...await answer.finish(typeof extra === 'function' ? await extra() : extra) }
    } catch (error) {
      // Whatever a source does that was told to stop is no failure.
      if (signal.aborted) return { id, ...await answer.fail() }
      await answer.fail(await this.#describe(chatId, error, describeError)).catch(() => {})
      throw error
    }
  }

  /** Without words for it the answer has failed all the same. */
  async #describe (chatId: string, error: unknown, describeError: StreamBotMessageOptions['describeError']): Promise<string | undefined> {
    try {
      return await describeError?.(error)
    } catch (err) {
      logRepeated(this.#options.log, DESCRIBING, { chatId, err }, placeOf(err))
      return undefined
    }
  }

  /** Whether an answer is produced here. */
  has (chatId: string, id: string): boolean {
    return this.#answers.has(keyOf(chatId, id))
  }

  /** Stops an answer if it is produced here. */
  async stop (chatId: string, id: string): Promise<void> {
    await this.#answers.get(keyOf(chatId, id))?.stop('stopped')
  }

  /** Ends an answer whose producer is gone, if that was not done yet. Rejects as `publish` does. */
  async interrupt (chatId: string, id: string, text: string): Promise<void> {
    const event = botMessage(chatId, { id, status: 'interrupted', at: 0, text })
    await this.#options.store?.conclude(getChatChannel(chatId), { field: fieldOf(id), event, key: endKeyOf(id) })
  }

  /** Ends all answers: this instance won't produce the rest. */
  close (): void {
    const answers = [...this.#answers.values()]
    this.#answers.clear()
    this.#renewal.stop()
    for (const answer of answers) answer.stop('interrupted').catch(() => {})
  }

  async #renew (): Promise<void> {
    const store = this.#options.store as StateStore // No message is open without one.
    const channels = new Map<string, BotAnswer[]>()
    for (const answer of this.#answers.values()) channels.set(answer.channel, [...channels.get(answer.channel) ?? [], answer])
    const at = performance.now()
    await Promise.all([...channels].map(async ([channel, answers]) => {
      // Those that were ended meanwhile look after themselves.
      const renewed = await store.renew(channel, answers.map(({ id }) => fieldOf(id)), this.#options.leaseMs).catch(() => undefined)
      if (renewed === undefined) return
      await Promise.all(answers.map((answer) => answer.renewed(renewed.epoch, renewed.gone.includes(fieldOf(answer.id)), at)))
    }))
  }

  #delete (key: string): void {
    this.#answers.delete(key)
    if (this.#answers.size === 0) this.#renewal.stop()
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
