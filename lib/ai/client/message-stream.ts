import { BotMessageRequest } from '../../client/bot-message-request.ts'
import { onBotMessage } from '../../client/bot-messages.ts'
import type { RealtimeChat, RealtimeClient } from '../../client/index.ts'
import { whenAborted } from '../../client/listen.ts'
import type { BotMessagePiece } from '../../event-types.ts'
import type { UIChunk } from '../../ui-message.ts'
import { ChunkStream } from './chunk-stream.ts'

/** The bot message to stream: by its id, or by the JSON of its first chunk. */
export type Wanted = { id: string } | { first: string }

/** Opens a chat to stream one of its bot messages, and closes it at the end of that one. */
export class MessageStream {
  readonly #chat: RealtimeChat
  /** All bot messages, until it is known which one is streamed; then that one. */
  #streams = new Map<string, ChunkStream>()
  #search: { wanted: Wanted, found: (stream: ChunkStream) => void } | undefined
  #isFound = false
  /** Aborts if the search fails. */
  readonly #failure = new AbortController()

  constructor (client: RealtimeClient, chatId: string, abortSignal: AbortSignal | undefined) {
    const chat = this.#chat = client.chat(chatId)
    onBotMessage(chat, (event) => this.#receive(event))
    client.onRefused(({ chatId: refused = chatId, message }) => {
      if (refused === chatId) this.fail(new Error(message))
    }, { signal: chat.signal })
    chat.onReset(() => {
      if (!this.#isFound) this.fail(new Error('Events were lost before the bot message was found'))
    })
    whenAborted(chat.signal, () => this.fail(new Error('The client is closed')))
    whenAborted(abortSignal, () => this.fail(abortSignal?.reason))
  }

  /**
   * Resolves with the stream of the bot message that `choose` decides on, once it has begun; with `null` if it decides
   * on none. `choose` is called once no later event can be missed.
   */
  async open (choose: (chat: RealtimeChat) => Promise<Wanted | null>): Promise<ReadableStream<UIChunk> | null> {
    try {
      await this.#unlessFailed(this.#chat.ready)
      const wanted = await this.#unlessFailed(choose(this.#chat))
      if (wanted !== null) return (await this.#unlessFailed(this.#find(wanted))).stream
      this.#chat.close()
      return null
    } catch (error) {
      this.fail(error)
      throw error
    }
  }

  fail (error: unknown): void {
    if (!this.#isFound) this.#failure.abort(error)
    for (const stream of this.#streams.values()) stream.fail(error)
    this.#chat.close()
  }

  #unlessFailed<T> (promise: Promise<T>): Promise<T> {
    const { signal } = this.#failure
    return Promise.race([
      promise, new Promise<never>((_resolve, reject) => whenAborted(signal, () => reject(signal.reason)))
    ])
  }

  async #find (wanted: Wanted): Promise<ChunkStream> {
    const found = new Promise<ChunkStream>((resolve) => { this.#search = { wanted, found: resolve } })
    for (const [id, stream] of this.#streams) this.#check(id, stream)
    if (!this.#isFound && 'id' in wanted) await this.#requestEnded(wanted.id)
    return await found
  }

  /** Requests a bot message, which may have ended before the chat was opened. */
  async #requestEnded (id: string): Promise<void> {
    const request = new BotMessageRequest(this.#chat, id)
    whenAborted(this.#chat.signal, () => request.close())
    const rest = await request.send(0)
    if (this.#isFound) return
    if (rest?.chunks === undefined) throw new Error(`The server has no UI message ${JSON.stringify(id)}`)
    // With chunks there is no text.
    if (rest.status !== 'streaming') this.#receive({ ...rest, id, at: 0 } as BotMessagePiece)
  }

  #receive (event: BotMessagePiece): void {
    const { id, chunks } = event
    if (chunks === undefined) return
    const known = this.#streams.get(id)
    if (this.#isFound && known === undefined) return
    const stream = known ?? new ChunkStream()
    this.#streams.set(id, stream)
    stream.receive(event)
    this.#check(id, stream)
  }

  /** Keeps only this stream if it is the one that is looked for. */
  #check (id: string, stream: ChunkStream): void {
    if (this.#isFound || this.#search === undefined || !isWanted(this.#search.wanted, id, stream)) return
    this.#isFound = true
    this.#streams = new Map([[id, stream]])
    this.#search.found(stream)
    stream.onEnd = () => this.#chat.close()
    if (stream.isEnded) this.#chat.close()
  }
}

function isWanted (wanted: Wanted, id: string, { first }: ChunkStream): boolean {
  return 'id' in wanted ? wanted.id === id : first !== undefined && JSON.stringify(first) === wanted.first
}
