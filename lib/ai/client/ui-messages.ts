import { onBotMessage } from '../../client/bot-messages.ts'
import type { ListenOptions, RealtimeChat } from '../../client/index.ts'
import { createListeners, reportError, whenAborted } from '../../client/listeners.ts'
import type { BotMessagePiece } from '../../event-types.ts'
import { beginsUIMessage } from '../../ui-message.ts'
import { ChunkStream } from './chunk-stream.ts'

/** The function `readUIMessageStream` of the AI SDK. `Message` is its `UIMessage`. */
export type ReadUIMessageStream<Message> = (options: { stream: ReadableStream<never> }) => AsyncIterable<Message>

/** Metadata that a handler gets beside a UI message. */
export interface UIMessageInfo {
  /** The id of the bot message. */
  id: string
  status: BotMessagePiece['status']
}

/** Called with each new state of a UI message. The last call has the status with which it has ended. */
export type UIMessageHandler<Message> = (message: Message, info: UIMessageInfo) => unknown

/**
 * Calls `handler` with each UI message that is streamed into a chat while it grows, in every tab and for every user of
 * the chat. Returns a function that removes the handler; closing the chat does the same.
 *
 *     onUIMessage(chat, readUIMessageStream, (message, { id, status }) => show(id, message, status))
 */
export function onUIMessage<Message> (
  chat: RealtimeChat,
  readUIMessageStream: ReadUIMessageStream<Message>,
  handler: UIMessageHandler<Message>,
  options?: ListenOptions
): () => void {
  const streams = new Map<string, ChunkStream>()
  const handlers = createListeners<[Message, UIMessageInfo]>()
  const removeHandler = handlers.add(handler, options)
  const follow = async (id: string, chunks: ChunkStream): Promise<void> => {
    let last: [Message] | undefined
    // The chunks are those of the installed version of the AI SDK.
    for await (const message of readUIMessageStream({ stream: chunks.stream as ReadableStream<never> })) {
      last = [message]
      handlers.notify(message, { id, status: 'streaming' })
    }
    if (last !== undefined) handlers.notify(...last, { id, status: chunks.status })
  }
  const remove = onBotMessage(chat, (event) => {
    const { id } = event
    if (event.chunks === undefined) return
    const chunks = streams.get(id) ?? new ChunkStream()
    const before = chunks.first
    streams.set(id, chunks)
    chunks.receive(event)
    if (event.status !== 'streaming') streams.delete(id)
    const { first } = chunks
    if (first === before || first === undefined) return
    if (beginsUIMessage(first)) follow(id, chunks).catch(reportError)
    // Its chunks are not those of a UI message, so they are not kept.
    else chunks.stream.cancel().catch(reportError)
  }, options)
  whenAborted(chat.signal, removeHandler)
  return () => { remove(); removeHandler() }
}
