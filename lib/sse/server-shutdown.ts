import { Server as HttpServer } from 'node:http'
import type { Http2Server } from 'node:http2'
import { Server as HttpsServer } from 'node:https'

/** A connection of a server: a socket, or a session of HTTP/2. */
interface Client {
  once (event: 'close', callback: () => void): unknown
  destroy (): void
  close? (): void
}

/**
 * Lets a server close soon. `server.close()` would wait a minute for connections on which no request has come yet, such as
 * browsers open ahead and when a stream drops, and for ever for the sessions of HTTP/2.
 */
export class ServerShutdown {
  readonly #clients = new Set<Client>()
  #begun = false

  constructor (server: HttpServer | HttpsServer | Http2Server) {
    if (server instanceof HttpServer || server instanceof HttpsServer) {
      server.on(server instanceof HttpsServer ? 'secureConnection' : 'connection', (socket: Client) => this.#add(socket))
      // Node itself closes connections once they are idle between requests.
      server.on('request', ({ socket }) => { this.#clients.delete(socket) })
    } else {
      server.on('session', (session: Client) => this.#add(session))
    }
  }

  /**
   * Takes no more clients: a connection that breaks is tried again by every EventSource, while the 503 of a closing server would
   * stop it for good. Sessions of HTTP/2 end with their last stream.
   */
  begin (): void {
    this.#begun = true
    for (const client of this.#clients) close(client)
  }

  #add (client: Client): void {
    if (this.#begun) return client.destroy()
    this.#clients.add(client)
    client.once('close', () => this.#clients.delete(client))
  }
}

function close (client: Client): void {
  if (client.close === undefined) client.destroy()
  else client.close()
}
