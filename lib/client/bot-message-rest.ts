import type { BotMessageChunk, BotMessagePiece } from '../event-types.ts'
import { partsOf, type ReadResponse, type RepeatedRequest } from './repeated-request.ts'
import { isObject } from './shape.ts'

/** What the server knows of a bot message. Without content if it does not exist (any more). */
export type Rest = Pick<BotMessagePiece, 'status' | 'extra' | 'error' | 'meta'> &
  { at?: number, text?: string | undefined, chunks?: BotMessageChunk[] | undefined }

/** What is known of a bot message that the server does not have. */
export const NOT_FOUND: Rest = { status: 'interrupted' }

/**
 * Requests a bot message from a position on. Resolves with `undefined` if the server refuses, or if the request is
 * closed. Never rejects.
 */
export async function requestRest (request: RepeatedRequest, id: string, at: number): Promise<Rest | undefined> {
  return await request.send(`/bot-messages/${encodeURIComponent(id)}?at=${at}`, readRest)
}

const readRest: ReadResponse<Rest | undefined> = async (response, renew) => {
  const { status } = response
  if (status !== 200) return status === 404 ? NOT_FOUND : undefined
  let text = ''
  for await (const part of partsOf(response, renew)) text += part
  const body: unknown = JSON.parse(text)
  return isObject(body) ? body as unknown as Rest : NOT_FOUND // The fields are not checked, as in events.
}
