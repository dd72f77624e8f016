import type { BotMessageEnd, BotMessageWriter, ChatEvents, StreamBotMessageOptions } from '../index.ts'
import { readSource } from '../core/source-reader.ts'
import { closingChunk, incompleteBy, UI_MESSAGE, type UIChunk } from '../ui-message.ts'

export type { UIChunk } from '../ui-message.ts'

/** A stream of UI message chunks, such as `result.toUIMessageStream()` of the AI SDK. */
export type UIMessageStream = ReadableStream<{ type: string }> | AsyncIterable<{ type: string }>

/**
 * The chunks of a UI message, or a function that returns them. Only the function can stop the model: it gets a signal
 * that aborts when the rest is not needed. Pass it to `streamText` as `abortSignal`.
 */
export type UIMessageSource = UIMessageStream |
  ((signal: AbortSignal) => UIMessageStream | Promise<UIMessageStream>)

/** Options of `streamUIMessage`. All are optional. */
export type StreamUIMessageOptions = Pick<StreamBotMessageOptions, 'id' | 'meta' | 'describeError'>

/**
 * Streams a UI message of the AI SDK into a chat, as a bot message whose chunks are those of the source. Each client
 * that has the chat open gets them, and `reply.sse.uiMessage` serves them to `useChat`, on any instance. A `start`
 * chunk without a `messageId` gets the id of the bot message.
 *
 * Resolves with the id and the final status. With a chunk `error` among the chunks, the bot message ends as `failed`;
 * with a chunk `abort`, as `stopped`; with both, as the first one says; otherwise as `finished`. If the source throws,
 * the bot message ends as `failed`, after a chunk `error` with the text of `describeError` unless there was one, and
 * the promise rejects with that error. Rejects as `startBotMessage` does.
 */
export async function streamUIMessage (
  chatEvents: ChatEvents, chatId: string, source: UIMessageSource, options: StreamUIMessageOptions = {}
): Promise<BotMessageEnd & { id: string }> {
  const { describeError, ...given } = options
  const appended: Appended = { incompleteBy: undefined }
  return await chatEvents.writeBotMessage(chatId, { ...given, format: 'chunks', protocol: UI_MESSAGE }, {
    write: async (writer) => {
      await append(source, writer, appended)
      return await endBy(appended, writer)
    },
    describeError,
    appendFailure: async (writer, error) => {
      const closing = closingChunk(appended.incompleteBy, { status: 'failed', ...error !== undefined && { error } })
      if (closing !== undefined) await writer.append(closing)
    }
  })
}

/** What is known of the chunks that were appended. */
interface Appended {
  /** The first chunk that says why the UI message is not complete. */
  incompleteBy: UIChunk | undefined
}

/** Appends all chunks of a source, until the signal of the bot message aborts. */
async function append (source: UIMessageSource, writer: BotMessageWriter, appended: Appended): Promise<void> {
  await readSource(source, writer.signal, async (value) => {
    const given = value as UIChunk // Chunks are objects with fields of any kind.
    const chunk = given.type === 'start' ? { ...given, messageId: given['messageId'] ?? writer.id } : given
    appended.incompleteBy ??= incompleteBy([chunk])
    await writer.append(chunk)
  })
}

/** Ends a bot message as its chunks say. */
async function endBy ({ incompleteBy: chunk }: Appended, writer: BotMessageWriter): Promise<BotMessageEnd> {
  if (chunk?.type === 'abort') {
    await writer.stop('stopped')
    return await writer.finish() // It has ended, and this resolves with its status.
  }
  return chunk === undefined ? await writer.finish() : await writer.fail(chunk['errorText'] as string)
}
