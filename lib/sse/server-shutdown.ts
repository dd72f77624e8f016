import { Server as HttpServer, type IncomingMessage } from 'node:http'
import type { Http2Server, Http2ServerRequest, Http2Session } from 'node:http2'
import { Server as HttpsServer } from 'node:https'
import type { Socket } from 'node:net'
import { timing } from '../options.ts'

/** What a connection is known by. */
type Key = Socket | string

/**
 * Lets a server close soon. `server.close()` would wait a minute for connections on which no request has come yet, such as
 * browsers open ahead and when a stream drops, and for ever for the sessions of HTTP/2.
 */
export class ServerShutdown {
  readonly #server: HttpServer | HttpsServer | Http2Server
  readonly #keyOf: (socket: Socket) => Key
  /** Connections on which no request of HTTP/1.1 has come yet. */
  readonly #clients = new Map<Key, Socket>()
  /** Told before its connection, or after. */
  readonly #sessions = new Map<Key, Http2Session>()
  readonly #onClose: (this: Socket) => void
  #begun = false
  #sweeping: NodeJS.Timeout | undefined

  constructor (server: HttpServer | HttpsServer | Http2Server) {
    this.#server = server
    // A session shows but a stand-in of its socket, and TLS has two sockets for one connection: address and port are the same.
    // Elsewhere they are not asked for, since Node would keep them as long as the connection.
    this.#keyOf = server instanceof HttpServer ? (socket) => socket : ({ remoteAddress, remotePort }) => `${remoteAddress} ${remotePort}`
    const forget = (socket: Socket): void => this.#forget(socket)
    // One function for all of them, as there may be many.
    this.#onClose = function (this: Socket) { forget(this) }
    server.once('close', () => clearTimeout(this.#sweeping))
    server.on('connection', (socket: Socket) => this.#add(socket))
    // Takes the place of the plain connection, which was one in its handshake.
    server.on('secureConnection', (socket: Socket) => this.#add(socket))
    server.on('session', (session: Http2Session) => { this.#sessions.set(this.#keyOf(session.socket as Socket), session) })
    server.on('request', ({ httpVersionMajor, socket }: IncomingMessage | Http2ServerRequest) => {
      if (httpVersionMajor === 1) this.#forget(socket)
    })
  }

  /**
   * Takes no more clients: a connection that breaks is tried again by every EventSource, while the 503 of a closing server would
   * stop it for good. Sessions of HTTP/2 end with their last stream.
   */
  begin (): void {
    this.#begun = true
    this.#closeIdle()
    for (const [key, socket] of this.#clients) {
      const session = this.#sessions.get(key)
      if (session !== undefined) session.close()
      else socket.destroy()
    }
  }

  /**
   * Cuts, until the server is closed, the connections on which a last answer has gone out, and those of sessions that have ended: a client
   * may keep the one open, and never answer that it knows of the other.
   */
  end (): void {
    if (this.#server.listening) this.#sweep()
  }

  #sweep (): void {
    const ended = [...this.#clients].filter(([key]) => this.#sessions.get(key)?.destroyed === true)
    this.#sweeping = setTimeout(() => {
      // By now the others have answered.
      for (const [, socket] of ended) socket.destroy()
      this.#closeIdle()
      this.#sweep()
    }, timing.shutdownSweep).unref()
  }

  #closeIdle (): void {
    if ('closeIdleConnections' in this.#server) this.#server.closeIdleConnections()
  }

  #add (socket: Socket): void {
    this.#clients.set(this.#keyOf(socket), socket)
    socket.on('close', this.#onClose)
    if (this.#begun) socket.destroy()
  }

  #forget (socket: Socket): void {
    socket.off('close', this.#onClose)
    const key = this.#keyOf(socket)
    if (this.#clients.get(key) !== socket) return
    this.#clients.delete(key)
    this.#sessions.delete(key)
  }
}
