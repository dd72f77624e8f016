import type { RealtimeChat, RealtimeClient } from '../../client/index.ts'
import { reportError, whenAborted } from '../../client/listen.ts'
import { isObject, isText } from '../../client/shape.ts'
import { MessageStream, type Wanted } from './message-stream.ts'

/** The fields that the AI SDK passes to a transport with each message. `Message` is its `UIMessage`. */
export interface SendOptions<Message> {
  chatId: string
  /** All messages of the conversation. */
  messages: Message[]
  trigger: 'submit-message' | 'regenerate-message'
  /** The id of the message to regenerate. */
  messageId: string | undefined
  /** Aborts when the user no longer waits for the bot message. */
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
   * The request of the app that makes the server call `stopBotMessage`, called when the user stops an answer that this
   * page has asked for. Without it, the page no longer follows the bot message, which goes on.
   */
  stop?: (message: { chatId: string, id: string }) => Promise<unknown>
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
  const open = async (
    chatId: string, abortSignal: AbortSignal | undefined, choose: (chat: RealtimeChat) => Promise<Wanted | null>
  ): Promise<ReadableStream<Chunk> | null> => {
    // The app declares what the server streams.
    return await new MessageStream(client, chatId, abortSignal).open(choose) as ReadableStream<Chunk> | null
  }
  return {
    resumeStreamIsReplay: true,
    sendMessages: async (options) => {
      return await open(options.chatId, options.abortSignal, async () => {
        const id = await idOf(await send(options))
        whenAborted(options.abortSignal, () => { stop?.({ chatId: options.chatId, id }).catch(reportError) })
        return { id }
      }) as ReadableStream<Chunk> // `null` only if there is nothing to choose.
    },
    reconnectToStream: async ({ chatId, abortSignal }) => await open(chatId, abortSignal, findActive)
  }
}

/** Reads the id of the bot message from the result of `send`. */
async function idOf (result: { id: string } | Response): Promise<string> {
  if (result instanceof Response && !result.ok) {
    throw new Error(await result.text() || `The server answered ${result.status}`)
  }
  const given: unknown = result instanceof Response ? await result.json() : result
  if (isObject(given) && isText(given['id'])) return given['id']
  throw new Error('`send` must resolve with an object whose `id` is that of the bot message')
}

/**
 * Asks the server for the UI message in progress that was started last. The response has no id, so the bot message is
 * found by its first chunk. Resolves with `null` if there is none.
 */
async function findActive (chat: RealtimeChat): Promise<Wanted | null> {
  const response = await chat.request('/stream', chat.signal)
  if (response.status === 204) return null
  if (response.status !== 200) throw new Error(`The server answered ${response.status}`)
  const first = await firstDataOf(response)
  return first === '[DONE]' ? null : { first }
}

/** Reads an event stream as far as its first data. */
async function firstDataOf ({ body }: Response): Promise<string> {
  const decoder = new TextDecoder()
  const reader = (body as ReadableStream<Uint8Array>).getReader()
  for (let text = ''; ;) {
    const { done, value } = await reader.read()
    if (done) throw new Error('The server ended the response')
    text += decoder.decode(value, { stream: true })
    const [, data] = /^data: (.*)\n/m.exec(text) ?? []
    if (data === undefined) continue
    reader.cancel().catch(() => {})
    return data
  }
}
