import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { ServerResponse, type IncomingMessage, type Server as HttpServer } from 'node:http'
import type { Http2SecureServer, Http2Server, Http2ServerRequest, Http2ServerResponse, Http2Session } from 'node:http2'
import type { Server as HttpsServer } from 'node:https'
import { Socket } from 'node:net'
import { timing } from '../core/timing.ts'

type Server = HttpServer | HttpsServer | Http2Server | Http2SecureServer

/** The current use of a connection: a pending HTTP/1.1 response, an HTTP/2 session, or `undefined` if it is idle. */
type Use = ServerResponse | Http2Session | undefined

/** The diagnostics channel on which Node publishes each connection that any server of the process accepts. */
const ACCEPTED = 'net.server.socket'

/** Events whose listeners take over a connection from the server. */
const TAKEOVER_EVENTS = ['upgrade', 'connect', 'clientError', 'unknownProtocol']
/**
 * Events that Node emits instead of `request` if a request has an `Expect` header. Their listeners decide whether the
 * client should send the body.
 */
const EXPECT_EVENTS = ['checkContinue', 'checkExpectation']

/**
 * Lets the servers of an app close quickly and without a 503 response. An EventSource reconnects after a broken
 * connection, but a 503 would stop it permanently. Fastify has several servers if `localhost` has several addresses.
 * `server.close()` alone would wait for connections without a request, such as those that browsers preopen, and for
 * HTTP/2 sessions. Connections that other code has taken over, such as WebSockets, are left alone.
 */
export class GracefulShutdown {
  readonly #server: Server
  /** Servers that are known already: `true` for those of the app. */
  readonly #knownServers = new WeakMap<object, boolean>()
  readonly #connections = new Map<Socket, Use>()
  /** Recognizes HTTP/2 sessions in `#connections`: Node does not export their class. */
  readonly #sessions = new WeakSet<Http2Session>()
  readonly #onAccepted: (message: unknown) => void
  // There may be many connections, so they share these functions instead of each having a closure.
  readonly #onClose: (this: Socket) => void
  readonly #onResponseClosed: (this: ServerResponse) => void
  #begun = false

  constructor (server: Server) {
    this.#server = server
    const forget = (socket: Socket): void => this.#forget(socket)
    this.#onClose = function (this: Socket) { forget(this) }
    const connections = this.#connections
    this.#onResponseClosed = function (this: ServerResponse) {
      const { socket } = this.req
      if (connections.get(socket) === this) connections.set(socket, undefined)
    }
    this.#watch(server)
    // Node documents this type.
    this.#onAccepted = (message) => this.#accepted((message as { socket: Socket & { server: Server } }).socket)
    subscribe(ACCEPTED, this.#onAccepted)
  }

  /**
   * Closes each connection after its pending responses and refuses new ones. Call it before Fastify starts to respond
   * with 503.
   */
  begin (): void {
    this.#begun = true
    for (const [socket, use] of this.#connections) {
      if (use === undefined) socket.destroy()
      else if (use instanceof ServerResponse) closeAfter(use)
      else use.close()
    }
    this.#sweep()
  }

  /** Stops looking for additional servers. */
  stop (): void {
    unsubscribe(ACCEPTED, this.#onAccepted)
  }

  /**
   * Repeatedly destroys connections whose HTTP/2 sessions had ended at the last sweep, since a client may never close
   * its side.
   */
  #sweep (): void {
    const sessions = [...this.#connections].filter((entry): entry is [Socket, Http2Session] =>
      this.#sessions.has(entry[1] as Http2Session))
    if (sessions.length === 0) return
    const ended = sessions.filter(([, session]) => session.destroyed)
    setTimeout(() => {
      for (const [socket] of ended) socket.destroy()
      this.#sweep()
    }, timing.shutdownSweep).unref()
  }

  #watch (server: Server): void {
    this.#knownServers.set(server, true)
    // Prepended: Node's own listener may emit further events for the connection synchronously.
    server.prependListener('connection', (socket: Socket) => this.#add(socket))
    server.prependListener('secureConnection', (socket: Socket & { _parent?: Socket }) => {
      // `_parent` is undocumented, but nothing else links the TLS socket to its raw socket: over a Unix socket, neither
      // has an address.
      this.#forget(socket._parent as Socket)
      this.#add(socket)
    })
    server.on('session', (session: Http2Session) => this.#addSession(session))
    const onRequest = (
      request: IncomingMessage | Http2ServerRequest,
      response: ServerResponse | Http2ServerResponse
    ): void => this.#requested(request, response)
    // Prepended: Fastify's listener may respond synchronously.
    server.prependListener('request', onRequest)
    for (const event of EXPECT_EVENTS) listenAlongside(server, event, onRequest)
    const onTakenOver = (...args: unknown[]): void => {
      for (const socket of args) if (socket instanceof Socket) this.#forget(socket)
    }
    for (const event of TAKEOVER_EVENTS) listenAlongside(server, event, onTakenOver)
  }

  /**
   * Finds additional servers of the app, for which Fastify has neither a hook nor an event. They have the same request
   * handler as the main server.
   */
  #accepted (socket: Socket & { server: Server }): void {
    const { server } = socket
    if (this.#knownServers.has(server)) return
    const isOurs = this.#server.listeners('request').includes(server.listeners('request')[0] as () => void)
    this.#knownServers.set(server, isOurs)
    if (!isOurs) return
    this.#watch(server)
    // Its `connection` event was emitted before the listener was added.
    this.#add(socket)
  }

  #add (socket: Socket, session?: Http2Session): void {
    if (this.#begun) {
      socket.destroy()
      return
    }
    // A connection can be added again, with the HTTP/2 session that was created on it.
    socket.off('close', this.#onClose).on('close', this.#onClose)
    if (session !== undefined || !this.#connections.has(socket)) this.#connections.set(socket, session)
  }

  #addSession (session: Http2Session): void {
    this.#sessions.add(session)
    // `session.socket` is a proxy, but its methods return the socket itself.
    this.#add(session.socket.off('close', this.#onClose), session)
  }

  #requested (request: IncomingMessage | Http2ServerRequest, response: ServerResponse | Http2ServerResponse): void {
    if (!(response instanceof ServerResponse)) {
      // The first session of an additional server was created before its `session` event was observed.
      const { session } = (request as Http2ServerRequest).stream
      if (session !== undefined && !this.#sessions.has(session)) this.#addSession(session)
    } else if (this.#connections.has(request.socket)) {
      this.#connections.set(request.socket, response)
      response.on('close', this.#onResponseClosed)
    }
  }

  #forget (socket: Socket): void {
    socket.off('close', this.#onClose)
    this.#connections.delete(socket)
  }
}

/** Closes a connection after the last response on it. */
function closeAfter (response: ServerResponse): void {
  const { socket } = response.req
  // Sends `connection: close`, unless the headers were sent already.
  response.shouldKeepAlive = false
  response.once('finish', () => { socket.end(() => socket.destroy()) })
}

/**
 * Listens to an event only while other listeners exist. If this were the only listener, Node would leave the connection
 * to it.
 */
function listenAlongside (server: Server, event: string, listener: (...args: never[]) => void): void {
  const typed = listener as (...args: unknown[]) => void // The arguments depend on the event.
  const isListening = (): boolean => server.listeners(event).includes(typed)
  server.on('newListener', (name: string, added: unknown) => {
    if (name === event && added !== typed && !isListening()) server.on(event, typed)
  })
  server.on('removeListener', (name: string) => {
    if (name === event && isListening() && server.listenerCount(event) === 1) server.off(event, typed)
  })
  if (server.listenerCount(event) > 0) server.on(event, typed)
}
