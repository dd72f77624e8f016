import type { BotMessagePiece } from './event-types.ts'

// What this package knows of the AI SDK's UI message streams. Their chunks are bot messages with the format `chunks`.

/** The protocol of bot messages whose chunks are those of a UI message: see `StartBotMessageOptions`. */
export const UI_MESSAGE = 'ui-message'

/** The header of a UI message stream with the id of its bot message, percent-encoded. */
export const BOT_MESSAGE_ID_HEADER = 'x-bot-message-id'

/** A chunk of a UI message. The fields beside `type` depend on it. */
export interface UIChunk { type: string, [field: string]: unknown }

/** Types of the chunks with which a UI message can begin. A source may write data before the `start` of the model. */
const FIRST = /^(start(-step)?|(text|reasoning)-start|(data|source|tool)-.+|file|message-metadata|error|abort|finish)$/

/** Whether a chunk is the first one of a UI message, and not of a bot message with other chunks. */
export function beginsUIMessage ({ type }: Record<string, unknown>): boolean {
  return typeof type === 'string' && FIRST.test(type)
}

/** Returns the first chunk that says why a UI message is not complete; `undefined` if there is none. */
export function incompleteBy (chunks: readonly UIChunk[]): UIChunk | undefined {
  return chunks.find(({ type }) => type === 'error' || type === 'abort')
}

/**
 * Returns the chunk that a client must still get, so that it learns why a UI message is not complete: a producer that
 * was stopped or has crashed could not append it. `known` is what `incompleteBy` has found in the chunks so far.
 */
export function closingChunk (
  known: UIChunk | undefined, { status, error }: Pick<BotMessagePiece, 'status' | 'error'>
): UIChunk | undefined {
  if (status === 'finished' || known !== undefined) return undefined
  if (status === 'stopped') return { type: 'abort' }
  const errorText = status === 'interrupted' ? 'The bot message was interrupted.' : error ?? 'The bot message failed.'
  return { type: 'error', errorText }
}
