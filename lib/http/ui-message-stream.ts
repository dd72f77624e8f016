import type { OutgoingHttpHeader, OutgoingHttpHeaders } from 'node:http'
import { splitChunks } from '../bot-messages/chunks.ts'
import type { BotMessageFollower } from '../bot-messages/follower.ts'
import type { Connection } from '../sse/connection.ts'
import { parseJson } from '../core/json.ts'
import { BOT_MESSAGE_ID_HEADER, closingChunk, incompleteBy, type UIChunk } from '../ui-message.ts'

/** Names the headers of a response that a page of another origin can read. */
export const EXPOSED_HEADERS = 'access-control-expose-headers'

/**
 * Returns headers that mark a response as a UI message stream of the AI SDK, and say which bot message it is. A page of
 * another origin can read the id beside the headers that the app exposes.
 */
export function uiMessageHeaders (id: string, exposed: OutgoingHttpHeader = []): OutgoingHttpHeaders {
  return {
    'x-vercel-ai-ui-message-stream': 'v1',
    [BOT_MESSAGE_ID_HEADER]: encodeURIComponent(id),
    [EXPOSED_HEADERS]: [exposed, BOT_MESSAGE_ID_HEADER].flat().join(', ')
  }
}

/**
 * Writes a bot message to a connection as a UI message stream, as fast as the client receives it, and ends the stream
 * with the bot message. If the rest cannot be read, the connection is cut: a client would take a clean end for a
 * complete bot message. Never rejects.
 */
export async function writeUIMessage (connection: Connection, follower: BotMessageFollower): Promise<void> {
  connection.onClose(() => follower.close())
  try {
    const contents = follower.contents()
    let known: UIChunk | undefined
    for (;;) {
      const next = await contents.next()
      if (next.done === true) {
        if (next.value === undefined) return
        const closing = closingChunk(known, next.value)
        connection.write(encode(closing === undefined ? ['[DONE]'] : [JSON.stringify(closing), '[DONE]']))
        return await connection.finish()
      }
      const chunks = splitChunks(next.value)
      // Only chunks that may be meant are parsed.
      known ??= incompleteBy(chunks.filter((json) => /"(error|abort)"/.test(json)).map(parseChunk))
      if (!await connection.writeAndDrain(encode(chunks))) return
    }
  } catch {
    connection.destroy()
  } finally {
    follower.close()
  }
}

function parseChunk (json: string): UIChunk {
  return parseJson(json) as UIChunk // What is written as a UI message has chunks with a type.
}

/** Encodes the data of frames, which contains no line break. */
function encode (data: string[]): Buffer {
  return Buffer.from(data.map((each) => `data: ${each}\n\n`).join(''))
}
