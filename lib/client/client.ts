import { Chat, type RealtimeChat } from './chat.ts'
import { marker, type StreamEvent, type StartPosition } from './stream-event.ts'
import type { Refusal } from './refusal.ts'
import { ConnectionPool } from './connection-pool.ts'
import type { ConnectionOptions, ConnectionState, Headers } from './connection.ts'
import { ListenerSet, whenAborted, type ListenOptions } from './listener-set.ts'
import { watchNetwork } from './network.ts'
import type { Message } from './tab-message.ts'
import { joinTabs, type Tabs } from './tab-leader.ts'

/** How the connection is: `idle` without chats, `stopped` after the server refused all, `closed` after `client.close()`. */
export type ClientState = ConnectionState | 'closed'

/** Options of the client. All can be left out. */
export interface RealtimeClientOptions {
  /** What the paths of the server's routes start with: a path, or a URL of another origin. @default '/api' */
  url?: string | undefined
  /**
   * Headers for each request, such as `authorization`. A function is asked anew each time a connection opens, and once more when the server answers 401.
   * What it throws is tried again like a broken connection.
   * @default none
   */
  headers?: Headers | (() => Headers | Promise<Headers>) | undefined
  /** What requests are made with. For cookies to another origin: `(url, init) => fetch(url, { ...init, credentials: 'include' })`. @default the global fetch */
  fetch?: typeof fetch | undefined
  /** Milliseconds without a byte after which a connection counts as dead: more than two heartbeats of the server. @default 45_000 */
  silenceMs?: number | undefined
  /**
   * Shares one connection between all tabs of a browser whose clients have the same `url` and give this same name. Put who is signed in into it, such as
   * `user-1`: all of them get what the tab that has the connection may see. Without effect where a browser has no Web Locks.
   * @default each tab has a connection of its own
   */
  share?: string | undefined
  /** Closes the client. @default none */
  signal?: AbortSignal | undefined
}

/** Where a chat starts, and when it ends. */
export interface ChatOptions extends ListenOptions {
  /** The id of the last event that the page has, from `lastEventId` or from a publisher's receipt: what came after it is handed on first. @default none */
  after?: string | undefined
  /** How many of the last events are handed on first, where there is no `after`. @default 0 */
  rewind?: number | undefined
}

/** A client of the chats of one server. */
export interface RealtimeClient {
  readonly state: ClientState
  /** Opens a chat. Add handlers in the same turn of the event loop, so that they miss nothing. Throws after `close()`, and for an id that is ill-formed. */
  chat (id: string, options?: ChatOptions): RealtimeChat
  /** Calls `handler` with each state that the connection changes to. Returns its undo. */
  onState (handler: (state: ClientState) => unknown, options?: ListenOptions): () => void
  /** Calls `handler` when the server refuses a chat. It stays refused until it is opened anew, or `reconnect()`. Returns its undo. */
  onRefused (handler: (refusal: Refusal) => unknown, options?: ListenOptions): () => void
  /** Comes back now rather than later, with the chats that were refused, too. */
  reconnect (): void
  /** Closes all chats and the connection. */
  close (): void
}

/** Makes a client. It connects when the first chat is opened. */
export function createRealtimeClient (options: RealtimeClientOptions = {}): RealtimeClient {
  return new Client(options)
}

/** The server's option `maxRewind` is this at most. A chat that asks for more than the option allows is refused. */
const MOST_REWIND = 999_999

class Client implements RealtimeClient {
  readonly #options: ConnectionOptions
  readonly #chats = new Set<Chat>()
  readonly #refused = new Set<string>()
  readonly #states = new ListenerSet<[ClientState]>()
  readonly #refusals = new ListenerSet<[Refusal]>()
  readonly #connections: ConnectionPool
  readonly #tabs: Tabs | undefined
  readonly #unwatch: () => void
  #state: ClientState = 'idle'

  constructor ({ url = '/api', headers, fetch = globalThis.fetch, silenceMs = 45_000, share, signal }: RealtimeClientOptions) {
    // Called as a method of the options, the global one would throw in browsers.
    this.#options = { url, headers, fetch: (...args) => fetch(...args), silenceMs }
    this.#connections = new ConnectionPool(this.#options, {
      deliver: (streamEvent) => this.#deliver(streamEvent),
      state: (state) => { this.#become(state); this.#tabs?.notify({ type: 'state', state }) },
      refused: (refusal) => { this.#refuse(refusal); this.#tabs?.notify({ type: 'refused', refusal }) }
    })
    // What came over the channel of the tabs meanwhile may be lost.
    this.#unwatch = watchNetwork({ wake: () => { if (!this.#leads) this.#match() }, offline: () => {} })
    if (share !== undefined) {
      this.#tabs = joinTabs(`fastify-realtime ${url} ${share}`, silenceMs, {
        lead: () => {
          // Both are of the tab that led before.
          this.#refused.clear()
          this.#match()
          if (this.#chats.size === 0) this.#become('idle')
        },
        follow: () => {
          this.#connections.close()
          for (const chat of this.#chats) chat.lose()
          this.#match()
        },
        wanted: (joined) => { this.#match(joined); this.#mark() },
        asked: () => this.#match(),
        message: (message) => this.#handleMessage(message)
      })
    }
    whenAborted(signal, () => this.close())
  }

  get state (): ClientState {
    return this.#state
  }

  chat (id: string, { after, rewind, signal }: ChatOptions = {}): RealtimeChat {
    if (this.#state === 'closed') throw new Error('The client is closed')
    // Half of a surrogate pair can't be sent, and would hold up all other chats: it throws.
    encodeURIComponent(id)
    const chat = new Chat(id, { id: after, rewind: rewindOf(rewind) }, {
      connection: this.#options,
      refused: (refusal) => this.#refuse(refusal),
      closed: (chat) => {
        this.#chats.delete(chat)
        this.#match()
      }
    })
    this.#chats.add(chat)
    // In a turn of its own, so that handlers can be added before.
    const connections = this.#connections
    if (connections.get(id)?.greeted === true) queueMicrotask(() => { chat.receive(marker(id, connections.get(id)?.id)) })
    this.#match(id)
    whenAborted(signal, () => chat.close())
    return chat
  }

  onState (handler: (state: ClientState) => unknown, options?: ListenOptions): () => void {
    return this.#states.add(handler, options)
  }

  onRefused (handler: (refusal: Refusal) => unknown, options?: ListenOptions): () => void {
    return this.#refusals.add(handler, options)
  }

  reconnect (): void {
    for (const chat of this.#chats) chat.retry()
    if (!this.#leads) return this.#tabs?.notify({ type: 'reconnect' })
    this.#refused.clear()
    this.#match()
    this.#connections.wake()
  }

  close (): void {
    for (const chat of [...this.#chats]) chat.close()
    // First, so that the other tabs are not told of the end of what another one goes on with.
    this.#tabs?.close()
    this.#connections.close()
    this.#unwatch()
    this.#become('closed')
  }

  get #leads (): boolean {
    return this.#tabs?.leads ?? true
  }

  /** Makes the feed carry what is wanted here and in other tabs, or tells the tab that leads what is wanted here. */
  #match (joined?: string): void {
    if (!this.#leads) {
      this.#tabs?.want(Object.fromEntries([...this.#chats].map(({ id, lastEventId }) => [id, lastEventId])), joined)
      return
    }
    const connections = this.#connections
    if (joined !== undefined) {
      this.#refused.delete(joined)
      // The server writes presence and bot messages in progress to a connection that opens. So a chat that joins an open one
      // has it opened anew, if that misses nothing.
      if (connections.get(joined)?.id !== undefined) connections.renew(joined)
    }
    const wanted = new Map<string, () => StartPosition>()
    for (const wants of this.#tabs?.wants.values() ?? []) for (const [chatId, id] of Object.entries(wants)) wanted.set(chatId, () => ({ id }))
    // Backwards: the place is that of the one that was opened first.
    for (const chat of [...this.#chats].reverse()) wanted.set(chat.id, () => chat.startPosition())
    for (const [chatId] of connections.chats()) if (!wanted.has(chatId)) connections.delete(chatId)
    for (const [chatId, position] of wanted) {
      if (connections.get(chatId) === undefined && !this.#refused.has(chatId)) connections.add(chatId, position())
    }
  }

  /** Tells the other tabs where each chat is. */
  #mark (): void {
    for (const [chatId, { greeted, id }] of this.#connections.chats()) {
      if (greeted) this.#tabs?.notify({ type: 'event', delivery: marker(chatId, id) })
    }
    this.#tabs?.notify({ type: 'state', state: this.#state as ConnectionState })
  }

  #deliver (streamEvent: StreamEvent): void {
    this.#hand(streamEvent)
    this.#tabs?.notify({ type: 'event', delivery: streamEvent })
  }

  #hand (streamEvent: StreamEvent): void {
    for (const chat of [...this.#chats]) if (chat.id === streamEvent.chatId) chat.receive(streamEvent)
  }

  #handleMessage (message: Message): void {
    if (message.type === 'reconnect' && this.#leads) this.reconnect()
    if (this.#leads) return
    if (message.type === 'event') this.#hand(message.delivery)
    if (message.type === 'state') this.#become(message.state)
    if (message.type === 'refused') this.#refuse(message.refusal)
  }

  #refuse (refusal: Refusal): void {
    if (refusal.chatId !== undefined) this.#refused.add(refusal.chatId)
    this.#refusals.notify(refusal)
  }

  #become (state: ClientState): void {
    if (this.#state === state || this.#state === 'closed') return
    this.#state = state
    this.#states.notify(state)
  }
}

/** A number that the server can read: any other would keep the other chats of the request out, too. */
function rewindOf (rewind = 0): number {
  return Math.min(Math.max(Math.trunc(rewind) || 0, 0), MOST_REWIND)
}
