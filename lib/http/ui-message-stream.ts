import { parseChunks } from '../bot-messages/chunks.ts'
import type { BotMessageFollower } from '../bot-messages/follower.ts'
import type { Connection } from '../sse/connection.ts'
import { encodeFrame } from '../sse/frame.ts'
import { closingChunk, incompleteBy, type UIChunk } from '../ui-message.ts'

/** Marks the response as a UI message stream of the AI SDK. */
export const UI_MESSAGE_HEADERS = { 'x-vercel-ai-ui-message-stream': 'v1' }

const DONE = Buffer.from('data: [DONE]\n\n')

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
        connection.write(Buffer.concat([...closing === undefined ? [] : [frameOf(closing)], DONE]))
        return await connection.finish()
      }
      const chunks = parseChunks(next.value) as UIChunk[]
      known ??= incompleteBy(chunks)
      if (!await connection.writeAndDrain(Buffer.concat(chunks.map(frameOf)))) return
    }
  } catch {
    connection.destroy()
  } finally {
    follower.close()
  }
}

function frameOf (chunk: UIChunk): Buffer {
  return encodeFrame({ json: JSON.stringify(chunk) })
}
