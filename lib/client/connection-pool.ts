import { MAX_CHARACTERS, PER_CHAT } from './limits.ts'
import { marker, type StartPosition } from './stream-event.ts'
import {
  createConnection, STATES, type ConnectionEvents, type ConnectionOptions, type ConnectionState, type StreamConnection
} from './connection.ts'

/** What brings the events of a client's chats: connections of this tab, or another tab that has them. */
export interface ChatSource {
  /** Requests the chats that the client has now. `joined` is one that it has just opened. */
  update (joined?: string): void
  /** Reconnects at once. Refused chats are requested again, too. */
  reconnect (): void
  /** Ends all connections without reporting another state. */
  close (): void
}

/** What a source serves: the chats to request, and what is called with their events. */
export interface Consumer extends Required<Pick<ConnectionEvents, 'deliver' | 'state' | 'refused'>> {
  /** Of several chats with the same id, `position` of the first one is called, if it is on no connection yet. */
  readonly chats: Iterable<{ id: string, position (): StartPosition }>
}

export interface ConnectionPool extends ChatSource {
  /** The connection that carries a chat. */
  of (chatId: string): StreamConnection | undefined
}

/**
 * Carries any number of chats over as many connections as their requests need. A chat stays on its connection, so that
 * opening or closing a chat interrupts no other connection. A connection without chats ends; half-empty connections are
 * not merged.
 */
export function createConnectionPool (options: ConnectionOptions, consumer: Consumer): ConnectionPool {
  const states = new Map<StreamConnection, ConnectionState>()
  /** The refused chats. They are not requested until they are opened again. */
  const refused = new Set<string>()
  /** The most chats that a request may have; `Infinity` until the server reports its limit. */
  let maxChats = Infinity

  const connectionOf = (chatId: string): StreamConnection | undefined =>
    [...states.keys()].find(({ chats }) => chats.has(chatId))

  const add = (chatId: string, position: StartPosition): void => {
    const connection = [...states.keys()].find(({ chats }) => {
      const ids = [...chats.keys(), chatId]
      const characters = encodeURIComponent(`${ids}`).length + PER_CHAT * ids.length
      return !chats.size || (chats.size < maxChats && characters <= MAX_CHARACTERS)
    }) ?? open()
    connection.add(chatId, position)
  }

  function open (): StreamConnection {
    const connection = createConnection(options, {
      deliver: consumer.deliver,
      state: (state) => {
        states.set(connection, state)
        if (state === 'idle') {
          connection.close()
          states.delete(connection)
        }
        const all = [...states.values()]
        consumer.state(STATES.find((each) => all.includes(each)) ?? 'idle')
      },
      refused: (refusal) => {
        if (refusal.chatId) refused.add(refusal.chatId)
        consumer.refused(refusal)
      },
      split: (max) => {
        maxChats = Math.min(maxChats, max)
        // Moves the chats that do not fit into one request to other connections.
        for (const [chatId, subscription] of [...connection.chats].slice(maxChats)) {
          connection.chats.delete(chatId)
          add(chatId, subscription)
        }
      }
    })
    states.set(connection, 'idle')
    return connection
  }

  function update (joined?: string): void {
    if (joined) {
      refused.delete(joined)
      const connection = connectionOf(joined)
      const subscription = connection?.chats.get(joined)
      // Deferred, so that the caller can add handlers first.
      if (subscription?.ready) queueMicrotask(() => consumer.deliver(marker(joined, subscription.id)))
      // The server sends presence and bot messages in progress only when a connection opens. So a connection that has
      // this chat already is reopened, if its position is known: then no event is missed.
      if (subscription?.id) connection?.renew()
    }
    const wanted = [...consumer.chats]
    const ids = new Set(wanted.map(({ id }) => id))
    for (const [connection] of states) {
      for (const [chatId] of connection.chats) if (!ids.has(chatId)) connection.delete(chatId)
    }
    for (const chat of wanted) if (!connectionOf(chat.id) && !refused.has(chat.id)) add(chat.id, chat.position())
  }

  return {
    update,
    of: connectionOf,
    reconnect () {
      refused.clear()
      update()
      for (const [connection, state] of states) {
        // Also a connection that the server has refused.
        if (state === 'stopped') connection.renew()
        else connection.wake()
      }
    },
    close () {
      for (const [connection] of states) connection.close()
      states.clear()
      refused.clear()
    }
  }
}
