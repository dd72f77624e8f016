import type { BotMessagePiece } from './event-types.ts'

// What this package knows of the AI SDK's UI message streams. Their chunks are bot messages with the format `chunks`.

/** The protocol of bot messages whose chunks are those of a UI message: see `StartBotMessageOptions`. */
export const UI_MESSAGE = 'ui-message'

/** A chunk of a UI message. The fields beside `type` depend on it. */
export interface UIChunk { type: string, [field: string]: unknown }

/**
 * Returns the chunk that must follow the last one of a bot message, so that a client learns how it ended: a producer
 * that was stopped or has crashed could not append it.
 */
export function closingChunk (
  last: UIChunk | undefined, { status, error }: Pick<BotMessagePiece, 'status' | 'error'>
): UIChunk | undefined {
  if (status === 'stopped') return last?.type === 'abort' ? undefined : { type: 'abort' }
  if (status === 'interrupted') return { type: 'error', errorText: 'The bot message was interrupted.' }
  if (status !== 'failed' || last?.type === 'error') return undefined
  return { type: 'error', errorText: error ?? 'The bot message failed.' }
}
