import type { RealtimeClient } from '../../client/index.ts'
import type { ReadResponse, RepeatedRequest } from '../../client/repeated-request.ts'
import { isObject, isText } from '../../client/shape.ts'
import { BOT_MESSAGE_ID_HEADER } from '../../ui-message.ts'
import { MessageStream } from './message-stream.ts'
import { StreamedIds } from './streamed-ids.ts'

/** The fields that the AI SDK passes to a transport with each message. `Message` is its `UIMessage`. */
export interface SendOptions<Message> {
  chatId: string
  /** All messages of the conversation. */
  messages: Message[]
  trigger: 'submit-message' | 'regenerate-message'
  /** The id of the message to regenerate. */
  messageId: string | undefined
  /** Aborts when the page no longer follows the bot message. */
  abortSignal: AbortSignal | undefined
  headers?: Record<string, string> | Headers | undefined
  body?: object | undefined
  metadata?: unknown
}

/** Options of `realtimeChatTransport`. */
export interface RealtimeChatTransportOptions<Message> {
  client: RealtimeClient
  /**
   * The request of the app that makes the server call `streamUIMessage`. Resolves with the id of the bot message, or
   * with a response whose JSON has it as `id`, as soon as the bot message has started.
   */
  send: (options: SendOptions<Message>) => Promise<{ id: string } | Response>
  /**
   * The request of the app that makes the server call `stopBotMessage`: see `stop` of the transport. Without an `id`,
   * the page streams no bot message of the chat, and the one in progress is to be stopped.
   */
  stop?: (message: { chatId: string, id?: string }) => Promise<unknown>
}

/**
 * The type `ChatTransport` of the AI SDK. `Chunk` fits each version: the chunks are those that the server has streamed.
 */
export interface RealtimeChatTransport<Message, Chunk = never> {
  /** A stream that is resumed begins with the first chunk. */
  readonly resumeStreamIsReplay: true
  /** Calls `send`, and resolves with the chunks of the bot message. */
  sendMessages: (options: SendOptions<Message>) => Promise<ReadableStream<Chunk>>
  /** Resolves with the chunks of the UI message in progress that was started last; with `null` if there is none. */
  reconnectToStream: (options: {
    chatId: string, abortSignal?: AbortSignal | undefined
  }) => Promise<ReadableStream<Chunk> | null>
  /**
   * Stops the answer in a chat for everyone, in whichever tab it was asked for: calls the option `stop`, once `send`
   * has resolved. `stop` of `useChat` cannot do so, since that of version 7 is also called when the page unmounts: it
   * only ends the stream of the page. Rejects as the option does, and if its response is not ok.
   */
  stop: (chatId: string) => Promise<void>
}

/**
 * Creates a transport for `useChat` of the AI SDK 5, 6 and 7. Chunks arrive over the connection of the client, which
 * all chats and tabs may share, so other tabs and users of the chat can follow the same bot message: see `onUIMessage`.
 * A lost connection does not end a stream, since the client resumes it.
 *
 * The streams end as their bot messages do: one that was stopped with a chunk `abort`, one that has failed or was
 * interrupted with a chunk `error`. A stream fails if the server refuses the chat, or if the client is closed.
 */
export function realtimeChatTransport<Message = unknown, Chunk = never> (
  { client, send, stop }: RealtimeChatTransportOptions<Message>
): RealtimeChatTransport<Message, Chunk> {
  const ids = new StreamedIds()
  return {
    resumeStreamIsReplay: true,
    sendMessages: async (options) => {
      const { chatId, abortSignal } = options
      const stream = new MessageStream(client, chatId, abortSignal)
      const id = stream.ready.then(async () => await idOf(await send(options)))
      ids.add(chatId, stream, id.catch(() => undefined))
      // It is never `null`, since `send` resolves with an id. The app declares what the server streams.
      return await stream.open(id) as ReadableStream<Chunk>
    },
    reconnectToStream: async ({ chatId, abortSignal }) => {
      const stream = new MessageStream(client, chatId, abortSignal)
      const id = stream.ready.then(findActive)
      const chunks = await stream.open(id)
      if (chunks !== null) ids.add(chatId, stream, id)
      return chunks as ReadableStream<Chunk> | null // What the app declares.
    },
    stop: async (chatId) => {
      if (stop === undefined) throw new Error('Pass the option `stop` to realtimeChatTransport')
      const id = await ids.in(chatId)
      await mustBeOk(await stop({ chatId, ...id !== undefined && { id } }))
    }
  }
}

/** Reads the id of the bot message from the result of `send`. */
async function idOf (result: { id: string } | Response): Promise<string> {
  await mustBeOk(result)
  const given: unknown = result instanceof Response ? await result.json() : result
  if (isObject(given) && isText(given['id'])) return given['id']
  throw new Error('`send` must resolve with an object whose `id` is that of the bot message')
}

/** Throws the text of a response that is not ok. */
async function mustBeOk (result: unknown): Promise<void> {
  if (!(result instanceof Response) || result.ok) return
  throw new Error(await result.text() || `The server answered ${result.status}`)
}

/**
 * Asks the server for the id of the UI message in progress that was started last. Resolves with `undefined` if
 * there is none.
 */
async function findActive (request: RepeatedRequest): Promise<string | undefined> {
  const answer = await request.send('/stream', readHead)
  // Without an answer, the chat is closed.
  if (answer === undefined || answer.status === 204) return undefined
  if (answer.id === null) throw new Error(`The server answered ${answer.status} without ${BOT_MESSAGE_ID_HEADER}`)
  return decodeURIComponent(answer.id)
}

/** Reads no chunks: they arrive over the connection of the chat. */
const readHead: ReadResponse<{ status: number, id: string | null }> = async ({ status, headers }) => {
  return { status, id: headers.get(BOT_MESSAGE_ID_HEADER) }
}
