import { requestRest } from '../../client/bot-message-rest.ts'
import { onBotMessage } from '../../client/bot-messages.ts'
import type { RealtimeChat, RealtimeClient } from '../../client/index.ts'
import { whenAborted } from '../../client/listen.ts'
import { RepeatedRequest } from '../../client/repeated-request.ts'
import type { BotMessagePiece } from '../../event-types.ts'
import type { ChunkStream } from './chunk-stream.ts'
import { KeptStreams } from './kept-streams.ts'

/** The bot message that is streamed. */
interface FoundMessage { id: string, stream: ChunkStream }

/** Opens a chat to stream one of its bot messages, and closes it at the end of that one. */
export class MessageStream {
  readonly #chat: RealtimeChat
  readonly #request: RepeatedRequest
  /** All bot messages, until it is known which one is streamed. */
  readonly #kept = new KeptStreams()
  #search: { id: string, found: (message: FoundMessage) => void } | undefined
  /** The bot message that is requested, with the pieces that arrive meanwhile if its chunks were dropped. */
  #requested: { id: string, held: BotMessagePiece[] } | undefined
  #found: FoundMessage | undefined
  /** Aborts if the search fails. */
  readonly #failure = new AbortController()
  /** Resolves with a request to the chat once no later event of it can be missed. */
  readonly ready: Promise<RepeatedRequest>

  constructor (client: RealtimeClient, chatId: string, abortSignal: AbortSignal | undefined) {
    const chat = this.#chat = client.chat(chatId)
    const request = this.#request = new RepeatedRequest(chat)
    onBotMessage(chat, (event) => this.#receive(event))
    client.onRefused(({ chatId: refused = chatId, message }) => {
      if (refused === chatId) this.fail(new Error(message))
    }, { signal: chat.signal })
    chat.onReset(() => {
      if (this.#found === undefined) this.fail(new Error('Events were lost before the bot message was found'))
    })
    whenAborted(chat.signal, () => {
      this.fail(new Error('The client is closed'))
      request.close()
    })
    whenAborted(abortSignal, () => this.fail(abortSignal?.reason))
    this.ready = this.#unlessFailed(chat.ready.then(() => request))
  }

  /** Aborts once the stream has ended. */
  get signal (): AbortSignal {
    return this.#chat.signal
  }

  /**
   * Resolves with the bot message whose id is given, once it has begun; with `null` if none is. The server must be
   * asked for it once the stream is `ready`.
   */
  async open (given: Promise<string | null>): Promise<FoundMessage | null> {
    try {
      const id = await this.#unlessFailed(given)
      if (id !== null) return await this.#unlessFailed(this.#find(id))
      this.#chat.close()
      return null
    } catch (error) {
      this.fail(error)
      throw error
    }
  }

  fail (error: unknown): void {
    if (this.#found === undefined) this.#failure.abort(error)
    this.#found?.stream.fail(error)
    this.#chat.close()
  }

  #unlessFailed<T> (promise: Promise<T>): Promise<T> {
    const { signal } = this.#failure
    return Promise.race([
      promise, new Promise<never>((_resolve, reject) => whenAborted(signal, () => reject(signal.reason)))
    ])
  }

  async #find (id: string): Promise<FoundMessage> {
    const found = new Promise<FoundMessage>((resolve) => { this.#search = { id, found: resolve } })
    for (const [id, stream] of this.#kept) this.#check(id, stream)
    if (this.#found === undefined) await this.#readWhole(id)
    return await found
  }

  /** Requests a bot message: it may have ended before the chat was opened, or its chunks were dropped. */
  async #readWhole (id: string): Promise<void> {
    const { held } = this.#requested = { id, held: [] as BotMessagePiece[] }
    const rest = await requestRest(this.#request, id, 0)
    if (this.#found !== undefined) return
    if (rest?.chunks === undefined) throw new Error(`The server has no UI message ${JSON.stringify(id)}`)
    this.#kept.keepAgain(id)
    // With chunks there is no text.
    if (rest.status !== 'streaming' || rest.chunks.length > 0) this.#receive({ ...rest, id, at: 0 } as BotMessagePiece)
    for (const piece of held) this.#receive(piece)
  }

  #receive (event: BotMessagePiece): void {
    const { id, chunks } = event
    if (chunks === undefined) return
    if (this.#found !== undefined) {
      if (this.#found.id === id) this.#found.stream.receive(event)
      return
    }
    const stream = this.#kept.receive(event)
    if (stream !== undefined) this.#check(id, stream)
    else if (this.#requested?.id === id) this.#requested.held.push(event)
  }

  /** Ends the search if this is the stream that is looked for. */
  #check (id: string, stream: ChunkStream): void {
    if (this.#found !== undefined || this.#search === undefined || this.#search.id !== id) return
    this.#found = { id, stream }
    this.#search.found(this.#found)
    stream.onEnd = () => this.#chat.close()
    if (stream.isEnded) this.#chat.close()
  }
}
