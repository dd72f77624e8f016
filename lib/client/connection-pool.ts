import type { ChatSubscription, StartPosition } from './stream-event.ts'
import {
  STATES, StreamConnection, type ConnectionEvents, type ConnectionOptions, type ConnectionState
} from './connection.ts'

/**
 * The most characters that the chats of one request may add to its URL and its `Last-Event-ID` together. Servers and
 * proxies accept 8 kB for a line and 16 kB for all headers, cookies included.
 */
const MAX_CHARACTERS = 6_144
/**
 * The characters that a chat needs beside its id: a separator, the names `chat` and `rewind`, six digits, and the
 * longest event id.
 */
const PER_CHAT = 82

/**
 * Carries any number of chats over as many connections as their requests need. A chat stays on its connection, so that
 * opening or closing a chat interrupts no other connection. A connection without chats ends; half-empty connections are
 * not merged.
 */
export class ConnectionPool {
  readonly #connections = new Set<StreamConnection>()
  readonly #options: ConnectionOptions
  readonly #events: Pick<ConnectionEvents, 'deliver' | 'state' | 'refused'>
  /** The most chats that a request may have; `Infinity` until the server reports its limit. */
  #maxChats = Infinity

  constructor (options: ConnectionOptions, events: Pick<ConnectionEvents, 'deliver' | 'state' | 'refused'>) {
    this.#options = options
    this.#events = events
  }

  /** The connection that carries a chat. */
  of (chatId: string): StreamConnection | undefined {
    return [...this.#connections].find(({ chats }) => chats.has(chatId))
  }

  get (chatId: string): ChatSubscription | undefined {
    return this.of(chatId)?.chats.get(chatId)
  }

  chats (): [chatId: string, subscription: ChatSubscription][] {
    return [...this.#connections].flatMap(({ chats }) => [...chats])
  }

  add (chatId: string, position: StartPosition): void {
    const connection =
      [...this.#connections].find(({ chats }) => this.#fits([...chats.keys()], chatId)) ?? this.#open()
    connection.add(chatId, position)
  }

  /** Reconnects at once, even if the server has refused a whole connection. */
  wake (): void {
    for (const connection of this.#connections) {
      if (connection.state === 'stopped') connection.renew()
      else connection.wake()
    }
  }

  /** Ends all connections without reporting another state. */
  close (): void {
    for (const connection of this.#connections) connection.close()
    this.#connections.clear()
  }

  #fits (chats: string[], chatId: string): boolean {
    const { length } = chats
    const characters = encodeURIComponent(`${[...chats, chatId]}`).length + PER_CHAT * (length + 1)
    return length === 0 || (length < this.#maxChats && characters <= MAX_CHARACTERS)
  }

  #open (): StreamConnection {
    const connection = new StreamConnection(this.#options, {
      ...this.#events,
      state: (state) => this.#stateChanged(connection, state),
      split: (max) => this.#split(connection, max)
    })
    this.#connections.add(connection)
    return connection
  }

  #stateChanged (connection: StreamConnection, state: ConnectionState): void {
    if (state === 'idle') {
      connection.close()
      this.#connections.delete(connection)
    }
    this.#events.state?.(STATES.find((state) => [...this.#connections].some((each) => each.state === state)) ?? 'idle')
  }

  /** Moves the chats that do not fit into one request to other connections. */
  #split (connection: StreamConnection, max: number): void {
    this.#maxChats = Math.min(this.#maxChats, max)
    for (const [chatId, subscription] of [...connection.chats].slice(this.#maxChats)) {
      connection.chats.delete(chatId)
      this.add(chatId, subscription)
    }
  }
}
