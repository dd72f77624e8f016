import { text } from 'node:stream/consumers'
import { ChatEvents } from '../chat/chat-events.ts'
import type { ChatEventInput } from '../event-types.ts'
import { withProvider, type Command } from './command.ts'
import { UsageError } from './usage.ts'

/** Publishes an event and prints its receipt. `json` is `-` for standard input. */
export function publish (chatId: string, json: string, idempotencyKey: string | undefined): Command {
  return async (context) => {
    const event = parseEvent(json === '-' ? await text(context.stdin) : json)
    const receipt = await withProvider(context, async (pubsub, log) => {
      const chatEvents = new ChatEvents(pubsub, { log })
      try {
        return await chatEvents.publish(chatId, event, { idempotencyKey })
      } finally {
        chatEvents.close()
      }
    })
    context.stdout.write(`${JSON.stringify(receipt)}\n`)
    return 0
  }
}

/** `publish` checks the rest. */
function parseEvent (json: string): ChatEventInput {
  try {
    return JSON.parse(json) as ChatEventInput
  } catch {
    throw new UsageError('EVENT must be JSON, such as \'{"type":"message","message":{"text":"Hello"}}\'.')
  }
}
