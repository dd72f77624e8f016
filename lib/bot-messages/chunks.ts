import type { BotMessageChunk } from '../event-types.ts'

// In the content of a bot message, each chunk is JSON with a comma before it, so that pieces can be joined.

/** Returns the content that consists of chunks, each given as JSON. */
export function joinChunks (chunks: readonly string[]): string {
  return chunks.map((json) => `,${json}`).join('')
}

/** Returns the chunks of a content as one JSON array. */
export function chunksJson (content: string): string {
  return `[${content.slice(1)}]`
}

export function parseChunks (content: string): BotMessageChunk[] {
  return JSON.parse(chunksJson(content)) as BotMessageChunk[] // Only objects are appended as chunks.
}
