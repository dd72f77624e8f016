'use client'

import {
  createContext, createElement, useCallback, useContext, useEffect, useInsertionEffect, useMemo, useRef,
  useSyncExternalStore, type ReactElement, type ReactNode
} from 'react'
import type { BotMessage, ChatEvent } from '../event-types.ts'
import type { ChatOptions, EventInfo, Reset } from '../client/chat.ts'
import type { ClientState, RealtimeClient } from '../client/client.ts'
import { chatState, EMPTY, subscribeToChat, type ChatState } from './chat-state.ts'

const ClientContext = createContext<RealtimeClient | undefined>(undefined)

/** Properties of `RealtimeProvider`. */
export interface RealtimeProviderProps {
  /** The client of all components below. Create it once, outside of components, and close it yourself. */
  client: RealtimeClient
  /** The components that use it. */
  children?: ReactNode
}

/** Gives the components below a client. */
export function RealtimeProvider ({ client, children }: RealtimeProviderProps): ReactElement {
  return createElement(ClientContext.Provider, { value: client }, children)
}

/** Returns the client of the `RealtimeProvider` above. Throws an `Error` if there is none. */
export function useRealtimeClient (): RealtimeClient {
  const client = useContext(ClientContext)
  if (client === undefined) throw new Error('There is no client. Render this component below a <RealtimeProvider>')
  return client
}

/** Options of `useChatEvents`: the start of the chat, and a handler of resets. */
export interface ChatEventsOptions extends Pick<ChatOptions, 'after' | 'rewind' | 'load'> {
  /** Called when events may be missing, as with `chat.onReset`. @default none */
  onReset?: ((reset: Reset) => unknown) | undefined
}

/**
 * Opens a chat while the component is mounted, and calls `handler` with each event, once and in order. The latest
 * `handler`, `load` and `onReset` are called, so they need no `useCallback`. `after` and `rewind` apply when the chat
 * is opened. If React hides the component and shows it again, the chat calls `load` again, or else continues where it
 * was.
 */
export function useChatEvents (
  chatId: string, handler: (event: ChatEvent, info: EventInfo) => unknown, options: ChatEventsOptions = {}
): void {
  const client = useRealtimeClient()
  const latest = useRef({ handler, options })
  const reached = useRef<{ chatId: string, id: string | undefined }>({ chatId, id: undefined })
  useInsertionEffect(() => { latest.current = { handler, options } })
  useEffect(() => {
    const { after, rewind, load } = latest.current.options
    const id = reached.current.chatId === chatId ? reached.current.id : undefined
    const chat = client.chat(chatId, {
      after: id ?? after,
      rewind,
      load: load && ((context) => (latest.current.options.load ?? load)(context))
    })
    chat.on('*', (event, info) => latest.current.handler(event, info))
    chat.onReset((reset) => latest.current.options.onReset?.(reset))
    return () => {
      reached.current = { chatId, id: load ? undefined : chat.lastEventId }
      chat.close()
    }
  }, [client, chatId])
}

/**
 * Returns the bot messages that this page has received since a component of the chat was mounted, the oldest first,
 * each with its content so far. At most 256 are kept.
 */
export function useBotMessages (chatId: string): readonly BotMessage[] {
  return useChatState(chatId, 'botMessages')
}

/** Returns the sorted ids of the users who are present in a chat. The server needs the option `presence`. */
export function usePresence (chatId: string): readonly string[] {
  return useChatState(chatId, 'presence')
}

/** Returns the ids of the users who are typing in a chat, in the order in which they began. */
export function useTyping (chatId: string): readonly string[] {
  const typing = useChatState(chatId, 'typing')
  return useMemo(() => typing.map(({ user }) => user), [typing])
}

/** Returns the state of the connection. It is `idle` while a server renders. */
export function useConnectionState (): ClientState {
  const client = useRealtimeClient()
  const subscribe = useCallback((listener: () => void) => client.onState(listener), [client])
  return useSyncExternalStore(subscribe, () => client.state, () => 'idle')
}

function useChatState<Part extends keyof ChatState> (chatId: string, part: Part): ChatState[Part] {
  const client = useRealtimeClient()
  const subscribe = useCallback(
    (listener: () => void) => subscribeToChat(client, chatId, listener), [client, chatId]
  )
  return useSyncExternalStore(subscribe, () => chatState(client, chatId)[part], () => EMPTY[part])
}
