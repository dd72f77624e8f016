import { SILENCE_MS } from './attempt.ts'
import { LONGEST_TIMER } from './backoff.ts'
import { Chat, type ChatOptions, type RealtimeChat } from './chat.ts'
import { marker, type StartPosition } from './stream-event.ts'
import type { Refusal } from './refusal.ts'
import { ConnectionPool } from './connection-pool.ts'
import type { ConnectionOptions, ConnectionState } from './connection.ts'
import { ListenerSet } from '../core/listener-set.ts'
import { listen, reportError, whenAborted, type ListenOptions } from './listen.ts'
import { watchNetwork } from './network.ts'
import type { Headers } from './request.ts'
import { Transport, type TransportName } from './transport.ts'
import type { Message } from './tab-message.ts'
import { joinTabs, type Tabs } from './tab-leader.ts'

/**
 * The connection state: `idle` without chats, `stopped` after the server refused all, `closed` after `client.close()`.
 */
export type ClientState = ConnectionState | 'closed'

/** Options of the client. All are optional. */
export interface RealtimeClientOptions {
  /** The prefix of the server's routes: a path, or a URL of another origin. @default '/api' */
  url?: string | undefined
  /**
   * Headers for each request, such as `authorization`. A function is called each time a connection opens, and once more
   * when the server responds with 401. If it throws, the client retries as after a broken connection.
   * @default none
   */
  headers?: Headers | (() => Headers | Promise<Headers>) | undefined
  /**
   * The function that makes requests. For cookies to another origin:
   * `(url, init) => fetch(url, { ...init, credentials: 'include' })`.
   * @default the global fetch
   */
  fetch?: typeof fetch | undefined
  /**
   * Milliseconds without a byte after which a connection counts as dead. Use more than two heartbeat intervals of the
   * server.
   * @default 45_000
   */
  silenceMs?: number | undefined
  /**
   * Shares one connection between all tabs of a browser whose clients have the same `url` and the same `share` name.
   * Put the id of the signed-in user into it, such as `user-1`: all these tabs get the events that the tab with the
   * connection may see. Has no effect if the browser has no Web Locks.
   * @default each tab has its own connection
   */
  share?: string | undefined
  /** Closes the client when it aborts. @default none */
  signal?: AbortSignal | undefined
}

/** A client of the chats of one server. */
export interface RealtimeClient {
  readonly state: ClientState
  /**
   * `stream`, or `long-poll` where a proxy holds streams back. Then each request waits for the next event. The stream
   * is tried again from time to time.
   */
  readonly transport: TransportName
  /**
   * Opens a chat. Add handlers in the same turn of the event loop, so that they miss no event. Throws after `close()`,
   * and for an ill-formed id.
   */
  chat (id: string, options?: ChatOptions): RealtimeChat
  /** Calls `handler` with each new state of the connection. Returns a function that removes the handler. */
  onState (handler: (state: ClientState) => unknown, options?: ListenOptions): () => void
  /**
   * Calls `handler` when the server refuses a chat. The chat stays refused until it is opened again, or until
   * `reconnect()`. Returns a function that removes the handler.
   */
  onRefused (handler: (refusal: Refusal) => unknown, options?: ListenOptions): () => void
  /** Reconnects at once instead of waiting for the next attempt. Refused chats are requested again, too. */
  reconnect (): void
  /** Closes all chats and the connection. */
  close (): void
}

/** Creates a client. It connects when the first chat is opened. */
export function createRealtimeClient (options: RealtimeClientOptions = {}): RealtimeClient {
  return new Client(options)
}

class Client implements RealtimeClient {
  readonly #options: ConnectionOptions
  readonly #chats = new Set<Chat>()
  readonly #refused = new Set<string>()
  readonly #states = new ListenerSet<[ClientState]>(reportError)
  readonly #refusals = new ListenerSet<[Refusal]>(reportError)
  readonly #connections: ConnectionPool
  readonly #tabs: Tabs | undefined
  readonly #unwatch: () => void
  #state: ClientState = 'idle'

  constructor (
    { url = '/api', headers, fetch = globalThis.fetch, silenceMs = SILENCE_MS, share, signal }: RealtimeClientOptions
  ) {
    silenceMs = Math.min(silenceMs, LONGEST_TIMER)
    // In browsers the global `fetch` throws when it is called as a method of another object.
    this.#options = { url, headers, fetch: (...args) => fetch(...args), silenceMs, transport: new Transport() }
    const pass = (message: Message): void => {
      this.#handle(message)
      this.#tabs?.notify(message)
    }
    this.#connections = new ConnectionPool(this.#options, {
      deliver: (delivery) => pass({ type: 'event', delivery }),
      state: (state) => pass({ type: 'state', state }),
      refused: (refusal) => pass({ type: 'refused', refusal })
    })
    // Messages from other tabs may have been lost while this page was suspended.
    this.#unwatch = watchNetwork(() => { if (!this.#isLeader) this.#updateSubscriptions() })
    if (share !== undefined) {
      this.#tabs = joinTabs(`fastify-realtime ${url} ${share}`, silenceMs, {
        elected: () => {
          // The refused chats and the state are those of the previous leader.
          this.#refused.clear()
          this.#updateSubscriptions()
          if (this.#chats.size === 0) this.#setState('idle')
        },
        replaced: () => {
          this.#connections.close()
          for (const chat of [...this.#chats]) chat.lost()
          this.#updateSubscriptions()
        },
        updated: (joined) => { this.#updateSubscriptions(joined); this.#sendPositions() },
        message: (message) => {
          if (!this.#isLeader) this.#handle(message)
          else if (message.type === 'reconnect') this.reconnect()
        }
      })
    }
    whenAborted(signal, () => this.close())
  }

  get state (): ClientState {
    return this.#state
  }

  get transport (): TransportName {
    return this.#options.transport.polls ? 'long-poll' : 'stream'
  }

  chat (id: string, options: ChatOptions = {}): RealtimeChat {
    if (this.#state === 'closed') throw new Error('The client is closed')
    // Throws for a lone surrogate: it can't be sent, and would block all other chats.
    encodeURIComponent(id)
    const chat = new Chat(id, options, {
      connection: this.#options,
      refused: (refusal) => this.#refuse(refusal),
      closed: (chat) => {
        this.#chats.delete(chat)
        this.#updateSubscriptions()
      }
    })
    this.#chats.add(chat)
    // Deferred, so that the caller can add handlers first.
    if (this.#connections.get(id)?.ready) {
      queueMicrotask(() => {
        chat.receive(marker(id, this.#connections.get(id)?.id))
      })
    }
    this.#updateSubscriptions(id)
    whenAborted(options.signal, () => chat.close())
    return chat
  }

  onState (handler: (state: ClientState) => unknown, options?: ListenOptions): () => void {
    return listen(this.#states, handler, options)
  }

  onRefused (handler: (refusal: Refusal) => unknown, options?: ListenOptions): () => void {
    return listen(this.#refusals, handler, options)
  }

  reconnect (): void {
    for (const chat of [...this.#chats]) chat.reconnect()
    if (!this.#isLeader) return this.#tabs?.notify({ type: 'reconnect' })
    this.#refused.clear()
    this.#updateSubscriptions()
    this.#connections.wake()
  }

  close (): void {
    for (const chat of [...this.#chats]) chat.close()
    // Leave the tabs first: otherwise they would get the state of the closing connections, although another tab takes
    // over.
    this.#tabs?.close()
    this.#connections.close()
    this.#unwatch()
    this.#setState('closed')
  }

  get #isLeader (): boolean {
    return this.#tabs?.leads ?? true
  }

  /**
   * In the leading tab: makes the connections carry the chats of all tabs. Otherwise: sends the leader this tab's
   * chats.
   */
  #updateSubscriptions (joined?: string): void {
    if (!this.#isLeader) {
      const chats = Object.fromEntries([...this.#chats].map(({ id, lastEventId }) => [id, lastEventId]))
      this.#tabs?.want(chats, joined)
      return
    }
    const connections = this.#connections
    if (joined !== undefined) {
      this.#refused.delete(joined)
      // The server sends presence and bot messages in progress only when a connection opens. So a connection that has
      // this chat already is reopened, if its position is known: then no event is missed.
      if (connections.get(joined)?.id !== undefined) connections.of(joined)?.renew()
    }
    const wanted = new Map<string, () => StartPosition>()
    for (const chats of this.#tabs?.others.values() ?? []) {
      for (const [chatId, id] of Object.entries(chats)) wanted.set(chatId, () => ({ id }))
    }
    // In reverse, so that the position of the chat that was opened first is used.
    for (const chat of [...this.#chats].reverse()) wanted.set(chat.id, () => chat.position())
    for (const [chatId] of connections.chats()) if (!wanted.has(chatId)) connections.of(chatId)?.delete(chatId)
    for (const [chatId, position] of wanted) {
      if (connections.get(chatId) === undefined && !this.#refused.has(chatId)) connections.add(chatId, position())
    }
  }

  /** In the leading tab: sends the others the current position of each chat. */
  #sendPositions (): void {
    if (!this.#isLeader) return
    for (const [chatId, { ready, id }] of this.#connections.chats()) {
      if (ready) this.#tabs?.notify({ type: 'event', delivery: marker(chatId, id) })
    }
    this.#tabs?.notify({ type: 'state', state: this.#state as ConnectionState })
  }

  /** Handles a message of the connections, which this tab or the leader holds. */
  #handle (message: Message): void {
    if (message.type === 'event') {
      for (const chat of this.#chatsOf(message.delivery.chatId)) chat.receive(message.delivery)
    }
    if (message.type === 'state') this.#setState(message.state)
    if (message.type === 'refused') {
      for (const chat of this.#chatsOf(message.refusal.chatId)) chat.refused()
      this.#refuse(message.refusal)
    }
  }

  #chatsOf (chatId: string | undefined): Chat[] {
    return [...this.#chats].filter(({ id }) => id === chatId)
  }

  #refuse (refusal: Refusal): void {
    const { chatId } = refusal
    if (chatId !== undefined) this.#refused.add(chatId)
    this.#refusals.notify(refusal)
  }

  #setState (state: ClientState): void {
    if (this.#state === state || this.#state === 'closed') return
    this.#state = state
    this.#states.notify(state)
  }
}
