import type { Test } from 'tap'
import { ChatEvents, LocalPubSub, type ChatEvent } from '../../../lib/index.ts'
import { keepLog } from '../../support/log.ts'

declare module '../../../lib/event-types.ts' {
  interface ChatEventMap {
    reaction: { user: string }
  }
}

export function local (t: Test, { log } = keepLog()): { pubsub: LocalPubSub, chatEvents: ChatEvents } {
  const pubsub = new LocalPubSub({ log })
  t.teardown(() => pubsub.close())
  return { pubsub, chatEvents: new ChatEvents(pubsub, { log, retryMs: 0 }) }
}

/** The next event of a chat. */
export function next (chatEvents: ChatEvents, chatId: string): Promise<ChatEvent> {
  return new Promise((resolve) => {
    const unsubscribe = chatEvents.onChatEvent(chatId, (event) => { unsubscribe(); resolve(event) })
  })
}
