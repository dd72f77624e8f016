import type { BotMessage } from '../event-types.ts'
import { onBotMessage } from '../client/bot-messages.ts'
import type { RealtimeChat } from '../client/chat.ts'
import type { RealtimeClient } from '../client/client.ts'
import { createListeners } from '../client/listeners.ts'
import { foldBotMessage, foldPresence, foldTyping, type TypingUser } from '../client/folds.ts'

/** What the hooks of a chat show. Each part is the same object until it changes. */
export interface ChatState {
  botMessages: readonly BotMessage[]
  presence: readonly string[]
  typing: readonly TypingUser[]
}

/** How many bot messages are kept. Beyond it, the oldest one is dropped. */
const MOST_MESSAGES = 256

/** The state before anything has arrived, and while a server renders. */
export const EMPTY: ChatState = { botMessages: [], presence: [], typing: [] }

/** The chats that components have open, by client and id. */
const stores = new WeakMap<RealtimeClient, Map<string, ChatStore>>()

/** Returns the state of a chat. It is empty while no component has subscribed. Opens nothing. */
export function chatState (client: RealtimeClient, chatId: string): ChatState {
  return stores.get(client)?.get(chatId)?.state ?? EMPTY
}

/**
 * Calls `listener` at each change of a chat's state. The chat is open while there is a listener, and all of them share
 * it. Returns a function that removes the listener.
 */
export function subscribeToChat (client: RealtimeClient, chatId: string, listener: () => void): () => void {
  const chats = stores.get(client) ?? new Map<string, ChatStore>()
  stores.set(client, chats)
  const store = chats.get(chatId) ?? new ChatStore(client.chat(chatId))
  chats.set(chatId, store)
  // Each call counts, also with a listener that was added before.
  const remove = store.listeners.add(() => listener())
  store.removers.add(remove)
  return () => {
    remove()
    store.removers.delete(remove)
    // React may remove a listener and add it again in one turn.
    queueMicrotask(() => {
      if (store.removers.size > 0 || chats.get(chatId) !== store) return
      chats.delete(chatId)
      store.close()
    })
  }
}

class ChatStore {
  state = EMPTY
  readonly listeners = createListeners<[]>()
  /** A function for each listener, which removes it. */
  readonly removers = new Set<() => void>()
  readonly #chat: RealtimeChat
  /** Removes the typing indicators that expire next. */
  #expiry: ReturnType<typeof setTimeout> | undefined

  constructor (chat: RealtimeChat) {
    this.#chat = chat
    chat.on('presence', (event) => this.#change({ presence: foldPresence(this.state.presence, event) }))
    chat.on('typing', (event) => this.#setTyping(foldTyping(this.state.typing, event)))
    onBotMessage(chat, (piece) => {
      const { botMessages } = this.state
      const last = botMessages.find(({ id }) => id === piece.id)
      const message = foldBotMessage(last, piece)
      this.#change({
        botMessages: last === undefined
          ? [...botMessages, message].slice(-MOST_MESSAGES)
          : botMessages.map((each) => each === last ? message : each)
      })
    })
  }

  close (): void {
    clearTimeout(this.#expiry)
    this.#chat.close()
  }

  #setTyping (typing: readonly TypingUser[]): void {
    this.#change({ typing })
    clearTimeout(this.#expiry)
    if (typing.length === 0) return
    const next = Math.min(...typing.map(({ until }) => until))
    this.#expiry = setTimeout(() => this.#setTyping(foldTyping(typing)), next - Date.now())
  }

  #change (part: Partial<ChatState>): void {
    this.state = { ...this.state, ...part }
    this.listeners.notify()
  }
}
