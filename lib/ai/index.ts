import type { BotMessageEnd, BotMessageWriter, ChatEvents, StreamBotMessageOptions } from '../index.ts'
import { closingChunk, UI_MESSAGE, type UIChunk } from '../ui-message.ts'
import { readerOf, type UIMessageSource } from './chunk-reader.ts'

export type { UIMessageSource, UIMessageStream } from './chunk-reader.ts'
export type { UIChunk } from '../ui-message.ts'

/** Options of `streamUIMessage`. All are optional. */
export type StreamUIMessageOptions = Pick<StreamBotMessageOptions, 'id' | 'meta' | 'describeError'>

/**
 * Streams a UI message of the AI SDK into a chat, as a bot message whose chunks are those of the source. Each client
 * that has the chat open gets them, and `reply.sse.uiMessage` serves them to `useChat`, on any instance. A `start`
 * chunk without a `messageId` gets the id of the bot message.
 *
 * Resolves with the id and the final status. If the last chunk is `error`, the bot message ends as `failed`; if it is
 * `abort`, as `stopped`; otherwise as `finished`. If the source throws, a chunk `error` with the text of
 * `describeError` is appended, the bot message ends as `failed`, and the promise rejects with that error. Rejects as
 * `startBotMessage` does.
 */
export async function streamUIMessage (
  chatEvents: ChatEvents, chatId: string, source: UIMessageSource, options: StreamUIMessageOptions = {}
): Promise<BotMessageEnd & { id: string }> {
  const { describeError, ...given } = options
  const writer = await chatEvents.startBotMessage(chatId, { ...given, format: 'chunks', protocol: UI_MESSAGE })
  const { id, signal } = writer
  const appended: Appended = { last: undefined }
  try {
    await append(source, writer, appended)
    return { id, ...await endBy(appended.last, writer) }
  } catch (error) {
    // The bot message is already ending, and `fail` only waits for that end.
    if (signal.aborted) return { id, ...await writer.fail() }
    const description = await describe(error, describeError)
    const ending = { status: 'failed' as const, ...description !== undefined && { error: description } }
    const closing = closingChunk(appended.last, ending)
    if (closing !== undefined) await writer.append(closing).catch(() => {})
    await writer.fail(description).catch(() => {})
    throw error
  }
}

interface Appended { last: UIChunk | undefined }

/** Appends all chunks of a source, until the signal of the bot message aborts. */
async function append (source: UIMessageSource, writer: BotMessageWriter, appended: Appended): Promise<void> {
  const reader = await readerOf(source, writer.signal)
  try {
    for (let chunk = await reader.next(); chunk !== undefined; chunk = await reader.next()) {
      const last = chunk.type === 'start' ? { ...chunk, messageId: chunk['messageId'] ?? writer.id } : chunk
      appended.last = last
      await writer.append(last)
    }
  } finally {
    reader.cancel()
  }
}

/** Ends a bot message as its last chunk says. */
async function endBy (last: UIChunk | undefined, writer: BotMessageWriter): Promise<BotMessageEnd> {
  if (last?.type === 'abort') {
    await writer.stop('stopped')
    return await writer.finish() // It has ended, and this resolves with its status.
  }
  return last?.type === 'error' ? await writer.fail(last['errorText'] as string) : await writer.finish()
}

async function describe (
  error: unknown, describeError: StreamUIMessageOptions['describeError']
): Promise<string | undefined> {
  try {
    return await describeError?.(error)
  } catch {
    return undefined
  }
}
