import type { RealtimeChat } from './chat.ts'
import { reportError, whenAborted, type ListenOptions } from './listen.ts'
import { ListenerSet } from '../core/listener-set.ts'
import { PieceJoiner, type BotMessageHandler } from './piece-joiner.ts'

export type { BotMessageHandler } from './piece-joiner.ts'

/** How many bot messages of a chat are remembered. */
const MOST_MESSAGES = 256

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
  const handlers = new ListenerSet<Parameters<BotMessageHandler>>(reportError)
  const messages = new Map<string, PieceJoiner>()
  const pass: BotMessageHandler = (...received) => handlers.notify(...received)
  const forget = (id: string, message: PieceJoiner): void => {
    messages.delete(id)
    message.close()
  }
  const removers = [
    handlers.add(handler),
    chat.on('bot_message', (event, info) => {
      const { id, status } = event
      const known = messages.get(id)
      // Its end was passed on already, after a reset.
      if (known?.isEnded === true && status !== 'streaming') return
      const message = known === undefined || known.isEnded ? new PieceJoiner(chat, id, pass) : known
      messages.delete(id)
      messages.set(id, message)
      if (messages.size > MOST_MESSAGES) forget(...messages.entries().next().value as [string, PieceJoiner])
      message.receive(event, info)
    }),
    chat.onReset(() => { for (const message of messages.values()) message.check() })
  ]
  const remove = (): void => {
    for (const remove of removers) remove()
    for (const [id, message] of messages) forget(id, message)
  }
  whenAborted(options?.signal, remove)
  whenAborted(chat.signal, remove)
  return remove
}
