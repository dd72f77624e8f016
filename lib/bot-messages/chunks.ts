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

/**
 * Returns the JSON of each chunk of a content. Takes a fraction of the time of parsing. Throws if the content ends
 * within a chunk, or contains a line break, which JSON of this package never does.
 */
export function splitChunks (content: string): string[] {
  const chunks: string[] = []
  let [start, depth] = [0, 0]
  for (let at = 0; at < content.length; at++) {
    const unit = content.charCodeAt(at)
    if (unit === QUOTE) at = endOfString(content, at)
    else if (unit === OPENING) start = depth++ === 0 ? at : start
    else if (unit === CLOSING && --depth === 0) chunks.push(content.slice(start, at + 1))
  }
  if (depth !== 0 || /[\r\n]/.test(content)) throw new SyntaxError('The content does not consist of chunks')
  return chunks
}

const [QUOTE, OPENING, CLOSING, BACKSLASH] = [0x22, 0x7b, 0x7d, 0x5c]

/** Returns the position of the quote that ends a string. */
function endOfString (content: string, begin: number): number {
  for (let at = content.indexOf('"', begin + 1); at !== -1; at = content.indexOf('"', at + 1)) {
    let escapes = 0
    while (content.charCodeAt(at - 1 - escapes) === BACKSLASH) escapes++
    if (escapes % 2 === 0) return at
  }
  return content.length
}
