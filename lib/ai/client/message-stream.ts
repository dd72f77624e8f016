import type { RealtimeChat, RealtimeClient } from '../../client/index.ts'
import { whenAborted } from '../../client/listeners.ts'
import { PieceJoiners } from '../../client/piece-joiners.ts'
import { RepeatedRequest } from '../../client/repeated-request.ts'
import type { BotMessagePiece } from '../../event-types.ts'
import type { UIChunk } from '../../ui-message.ts'
import { ChunkStream } from './chunk-stream.ts'
import { KeptStreams } from './kept-streams.ts'

/** Opens a chat to stream one of its bot messages, and closes it at the end of that one. */
export class MessageStream {
  readonly #chat: RealtimeChat
  readonly #joiners: PieceJoiners
  /** All bot messages, until it is known which one is streamed; then that one. */
  #received: KeptStreams | { id: string, stream: ChunkStream } = new KeptStreams()
  /** Aborts if the stream fails before it is known which bot message it is. */
  readonly #failure = new AbortController()
  /** Resolves with a request to the chat once no later event of it can be missed. */
  readonly ready: Promise<RepeatedRequest>

  constructor (client: RealtimeClient, chatId: string, abortSignal: AbortSignal | undefined) {
    const chat = this.#chat = client.chat(chatId)
    const request = new RepeatedRequest(chat)
    const joiners = this.#joiners = new PieceJoiners(chat, (event) => this.#receive(event))
    chat.on('bot_message', (...received) => joiners.receive(...received))
    // A bot message may have ended among the events that were lost.
    chat.onReset(() => joiners.check())
    client.onRefused(({ chatId: refused = chatId, message }) => {
      if (refused === chatId) this.fail(new Error(message))
    }, { signal: chat.signal })
    whenAborted(chat.signal, () => {
      this.fail(new Error('The client is closed'))
      request.close()
      joiners.close()
    })
    whenAborted(abortSignal, () => this.fail(abortSignal?.reason))
    this.ready = this.#unlessFailed(chat.ready.then(() => request))
  }

  /** Aborts once the stream has ended. */
  get signal (): AbortSignal {
    return this.#chat.signal
  }

  /**
   * Resolves with the chunks of the bot message whose id is given; with `null` if there is none. The server must be
   * asked for the id once the stream is `ready`. The chunks end with an error if the server has no such UI message.
   */
  async open (given: Promise<string | undefined>): Promise<ReadableStream<UIChunk> | null> {
    try {
      const id = await this.#unlessFailed(given)
      if (id !== undefined) return this.#follow(id)
      this.#chat.close()
      return null
    } catch (error) {
      this.fail(error)
      throw error
    }
  }

  fail (error: unknown): void {
    if (this.#received instanceof KeptStreams) this.#failure.abort(error)
    else this.#received.stream.fail(error)
    this.#chat.close()
  }

  #unlessFailed<T> (promise: Promise<T>): Promise<T> {
    const { signal } = this.#failure
    return Promise.race([
      promise, new Promise<never>((_resolve, reject) => whenAborted(signal, () => reject(signal.reason)))
    ])
  }

  #follow (id: string): ReadableStream<UIChunk> {
    const kept = (this.#received as KeptStreams).get(id) // It is opened once.
    // It may have ended before the chat was opened, or its chunks were dropped.
    if (kept === undefined) this.#joiners.restart(id)
    const stream = kept ?? new ChunkStream()
    this.#received = { id, stream }
    stream.onEnd = () => this.#chat.close()
    if (stream.isEnded) this.#chat.close()
    return stream.stream
  }

  #receive (event: BotMessagePiece): void {
    const received = this.#received
    if (received instanceof KeptStreams) {
      if (event.chunks !== undefined) received.receive(event)
    } else if (received.id === event.id) {
      if (event.chunks !== undefined) received.stream.receive(event)
      else this.fail(new Error(`The server has no UI message ${JSON.stringify(event.id)}`))
    }
  }
}
