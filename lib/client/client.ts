import { SILENCE_MS } from './attempt.ts'
import { LONGEST_TIMER } from './backoff.ts'
import { createChat, type Chat, type ChatOptions, type RealtimeChat } from './chat.ts'
import type { Refusal } from './refusal.ts'
import type { StreamEvent } from './stream-event.ts'
import { createConnectionPool, type ChatSource } from './connection-pool.ts'
import type { ConnectionOptions, ConnectionState } from './connection.ts'
import { createListeners, whenAborted, type ListenOptions } from './listeners.ts'
import type { Headers } from './request.ts'
import { watchNetwork } from './network.ts'
import { createTransport, type TransportName } from './transport.ts'
import type { Locks } from './tab-leader.ts'

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
   * `stream`, or `long-poll` where a proxy holds streams back or lets none live long. Then each request waits for the
   * next event. The stream is tried again from time to time.
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

/** Loaded once, so that the clients of a page join in the order in which they were created. */
let sharing: Promise<typeof import('./shared-connections.ts')> | undefined

/** Creates a client. It connects when the first chat is opened. */
export function createRealtimeClient (
  { url = '/api', headers, fetch = globalThis.fetch, silenceMs = SILENCE_MS, share, signal }: RealtimeClientOptions = {}
): RealtimeClient {
  const options: ConnectionOptions = {
    url,
    headers,
    // In browsers the global `fetch` throws when it is called as a method of another object.
    fetch: (...args) => fetch(...args),
    silenceMs: Math.min(silenceMs, LONGEST_TIMER),
    transport: createTransport()
  }
  const chats = new Set<Chat>()
  const states = createListeners<[ClientState]>()
  const refusals = createListeners<[Refusal]>()
  let state: ClientState = 'idle'
  /** Absent until the code that shares connections is loaded. */
  let source: ChatSource | undefined

  const consumer = {
    chats,
    deliver (streamEvent: StreamEvent): void {
      for (const chat of [...chats]) if (chat.id === streamEvent.chatId) chat.receive(streamEvent)
    },
    state: setState,
    refused (refusal: Refusal): void {
      for (const chat of [...chats]) if (chat.id === refusal.chatId) chat.refused()
      refusals.notify(refusal)
    }
  }

  function setState (next: ClientState): void {
    if (state === next || state === 'closed') return
    state = next
    states.notify(state)
  }

  /** Uses the connection of all tabs, or one of this tab if that fails: then the app works, with more connections. */
  async function join (name: string, locks: Locks): Promise<void> {
    try {
      // Loaded only here, so that apps without `share` do not pay for it.
      const { shareConnections } = await (sharing ??= import('./shared-connections.ts'))
      if (state !== 'closed') {
        source = shareConnections(name, locks, options, consumer, createConnectionPool, watchNetwork)
      }
    } catch (error) {
      console.warn(error)
    }
    source ??= createConnectionPool(options, consumer)
    for (const { id } of chats) source.update(id)
  }

  const client: RealtimeClient = {
    get state () {
      return state
    },
    get transport () {
      return options.transport.polls ? 'long-poll' : 'stream'
    },
    chat (id, chatOptions = {}) {
      if (state === 'closed') throw Error('The client is closed')
      // Throws for a lone surrogate: it can't be sent, and would block all other chats.
      encodeURIComponent(id)
      const chat = createChat(id, chatOptions, {
        connection: options,
        refused: refusals.notify,
        closed () {
          chats.delete(chat)
          source?.update()
        }
      })
      chats.add(chat)
      if (source) source.update(id)
      else setState('connecting')
      whenAborted(chatOptions.signal, () => chat.close())
      return chat
    },
    onState: states.add,
    onRefused: refusals.add,
    reconnect () {
      for (const chat of [...chats]) chat.reconnect()
      source?.reconnect()
    },
    close () {
      for (const chat of [...chats]) chat.close()
      source?.close()
      setState('closed')
    }
  }
  const locks = (globalThis as { navigator?: { locks?: Locks } }).navigator?.locks
  if (share !== undefined && locks) join(`fastify-realtime ${url} ${share}`, locks)
  else source = createConnectionPool(options, consumer)
  whenAborted(signal, client.close)
  return client
}
