import { Server as HttpServer } from 'node:http'
import type { Http2Server, Http2Session } from 'node:http2'
import { Server as HttpsServer } from 'node:https'
import type { Socket } from 'node:net'
import { timing } from '../options.ts'

/** A connection, and what is known of it. */
interface Client {
  socket: Socket
  /** Whether a request has come on it. */
  used: boolean
}

/**
 * Lets a server close soon. `server.close()` would wait a minute for connections on which no request has come yet, such as
 * browsers open ahead and when a stream drops, and for ever for the sessions of HTTP/2.
 */
export class ServerShutdown {
  readonly #server: HttpServer | HttpsServer | Http2Server
  /** By address and port: a session shows but a stand-in of its socket, and TLS has two sockets for one connection. */
  readonly #clients = new Map<string, Client>()
  readonly #bySocket = new WeakMap<Socket, Client>()
  /** Told before its connection, or after. */
  readonly #sessions = new Map<string, Http2Session>()
  #begun = false

  constructor (server: HttpServer | HttpsServer | Http2Server) {
    this.#server = server
    server.on('connection', (socket: Socket) => this.#add(socket))
    // Takes the place of the plain connection, which was one in its handshake.
    server.on('secureConnection', (socket: Socket) => this.#add(socket))
    server.on('session', (session: Http2Session) => { this.#sessions.set(keyOf(session.socket as Socket), session) })
    server.on('request', ({ socket }) => {
      const client = this.#bySocket.get(socket)
      if (client !== undefined) client.used = true
    })
  }

  /**
   * Takes no more clients: a connection that breaks is tried again by every EventSource, while the 503 of a closing server would
   * stop it for good. Sessions of HTTP/2 end with their last stream.
   */
  begin (): void {
    this.#begun = true
    if ('closeIdleConnections' in this.#server) this.#server.closeIdleConnections()
    for (const [key, { socket, used }] of this.#clients) {
      const session = this.#sessions.get(key)
      if (session !== undefined) session.close()
      else if (!used) socket.destroy()
    }
  }

  /** Cuts the connections of sessions as they end: a client may never answer that it knows. */
  end (): void {
    const ended = [...this.#clients].filter(([key]) => this.#sessions.get(key)?.destroyed === true)
    setTimeout(() => {
      // By now the others have answered.
      for (const [, { socket }] of ended) socket.destroy()
      if (this.#sessions.size > 0) this.end()
    }, timing.sessionLinger).unref()
  }

  #add (socket: Socket): void {
    const key = keyOf(socket)
    const client = { socket, used: false }
    this.#clients.set(key, client)
    this.#bySocket.set(socket, client)
    socket.once('close', () => {
      if (this.#clients.get(key) !== client) return
      this.#clients.delete(key)
      this.#sessions.delete(key)
    })
    if (this.#begun) socket.destroy()
  }
}

function keyOf ({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}
