import type { RealtimeChat } from './chat.ts'
import { createListeners, whenAborted, type ListenOptions } from './listeners.ts'
import type { BotMessageHandler } from './piece-joiner.ts'
import { PieceJoiners } from './piece-joiners.ts'

export type { BotMessageHandler } from './piece-joiner.ts'

/**
 * Calls `handler` with the bot messages of a chat, as `chat.on('bot_message')` does, but without gaps: a piece never
 * begins beyond the content so far. If the server has sent only the length of a long bot message, the rest is requested
 * and passed on as one piece. If the server does not have it any more, the piece is passed on as it is.
 *
 * After a reset, `handler` also gets the end of each bot message that has ended meanwhile, and the status `interrupted`
 * for one that the server does not have any more. Returns a function that removes the handler; closing the chat does
 * the same.
 */
export function onBotMessage (chat: RealtimeChat, handler: BotMessageHandler, options?: ListenOptions): () => void {
  const handlers = createListeners<Parameters<BotMessageHandler>>()
  const joiners = new PieceJoiners(chat, (...received) => handlers.notify(...received))
  const removers = [
    handlers.add(handler),
    chat.on('bot_message', (...received) => joiners.receive(...received)),
    chat.onReset(() => joiners.check())
  ]
  const remove = (): void => {
    for (const remove of removers) remove()
    joiners.close()
  }
  whenAborted(options?.signal, remove)
  whenAborted(chat.signal, remove)
  return remove
}
