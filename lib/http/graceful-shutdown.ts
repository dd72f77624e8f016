import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { ServerResponse, type IncomingMessage, type Server as HttpServer } from 'node:http'
import type { Http2SecureServer, Http2Server, Http2ServerRequest, Http2ServerResponse, Http2Session } from 'node:http2'
import type { Server as HttpsServer } from 'node:https'
import { Socket } from 'node:net'
import { timing } from '../core/timing.ts'

type Server = HttpServer | HttpsServer | Http2Server | Http2SecureServer

/** What a connection is used for: a response of HTTP/1.1 that is under way, a session of HTTP/2, or nothing yet or any more. */
type Use = ServerResponse | Http2Session | undefined

/** Where Node publishes each connection that any server of the process has accepted. */
const ACCEPTED = 'net.server.socket'

/** Events whose listeners take a connection over from the server. */
const TAKEN_OVER = ['upgrade', 'connect', 'clientError', 'unknownProtocol']
/** Events that Node emits instead of `request`, to listeners that decide whether a body shall be sent. */
const REQUESTED = ['checkContinue', 'checkExpectation']

/**
 * Lets the servers of an app close soon, without a 503: that would stop an EventSource for good, while one whose connection breaks tries again.
 * Fastify has several servers where `localhost` has several addresses. `server.close()` alone would wait for connections on which no request
 * has come yet, such as browsers open ahead, and for sessions of HTTP/2. Connections that others have taken over are left alone.
 */
export class GracefulShutdown {
  readonly #server: Server
  readonly #watched = new WeakMap<object, boolean>()
  readonly #connections = new Map<Socket, Use>()
  readonly #sessions = new WeakSet<Http2Session>()
  readonly #onAccepted: (message: unknown) => void
  // One function for all connections, as there may be many.
  readonly #onClose: (this: Socket) => void
  readonly #onAnswered: (this: ServerResponse) => void
  #begun = false

  constructor (server: Server) {
    this.#server = server
    const forget = (socket: Socket): void => this.#forget(socket)
    this.#onClose = function (this: Socket) { forget(this) }
    const connections = this.#connections
    this.#onAnswered = function (this: ServerResponse) {
      const { socket } = this.req
      if (connections.get(socket) === this) connections.set(socket, undefined)
    }
    this.#watch(server)
    this.#onAccepted = (message) => this.#accepted((message as { socket: Socket & { server: Server } }).socket) // Node documents it.
    subscribe(ACCEPTED, this.#onAccepted)
  }

  /** Ends each connection with what is under way on it, and takes no more. To be called before Fastify answers 503. */
  begin (): void {
    this.#begun = true
    for (const [socket, use] of this.#connections) {
      if (use === undefined) socket.destroy()
      else if (use instanceof ServerResponse) closeAfter(use)
      else use.close()
    }
    this.#sweep()
  }

  /** Stops watching for further servers. */
  stop (): void {
    unsubscribe(ACCEPTED, this.#onAccepted)
  }

  /** Cuts connections whose HTTP/2 sessions have ended: a client may never close its side. */
  #sweep (): void {
    const sessions = [...this.#connections].filter((entry): entry is [Socket, Http2Session] => this.#sessions.has(entry[1] as Http2Session))
    if (sessions.length === 0) return
    const ended = sessions.filter(([, session]) => session.destroyed)
    setTimeout(() => {
      for (const [socket] of ended) socket.destroy()
      this.#sweep()
    }, timing.shutdownSweep).unref()
  }

  #watch (server: Server): void {
    this.#watched.set(server, true)
    // Ahead of Node's own listener, which may hand the connection on at once.
    server.prependListener('connection', (socket: Socket) => this.#add(socket))
    server.prependListener('secureConnection', (socket: Socket & { _parent?: Socket }) => {
      // Undocumented, but there is no other link between the two sockets of one connection: over a Unix socket they have no address.
      this.#forget(socket._parent as Socket)
      this.#add(socket)
    })
    server.on('session', (session: Http2Session) => this.#addSession(session))
    const onRequest = (request: IncomingMessage | Http2ServerRequest, response: ServerResponse | Http2ServerResponse): void => this.#requested(request, response)
    // Before Fastify, which may answer at once.
    server.prependListener('request', onRequest)
    for (const event of REQUESTED) alongside(server, event, onRequest)
    const onTakenOver = (...args: unknown[]): void => { for (const socket of args) if (socket instanceof Socket) this.#forget(socket) }
    for (const event of TAKEN_OVER) alongside(server, event, onTakenOver)
  }

  /** Finds further servers of the app, for which Fastify has neither a hook nor an event, by their request handler: it is Fastify's own. */
  #accepted (socket: Socket & { server: Server }): void {
    const { server } = socket
    if (this.#watched.has(server)) return
    const ours = this.#server.listeners('request').includes(server.listeners('request')[0] as () => void)
    this.#watched.set(server, ours)
    if (!ours) return
    this.#watch(server)
    // Its `connection` was emitted before.
    this.#add(socket)
  }

  #add (socket: Socket, session?: Http2Session): void {
    if (this.#begun) {
      socket.destroy()
      return
    }
    const known = this.#connections.has(socket)
    if (!known) socket.on('close', this.#onClose)
    // A session comes after its connection.
    if (!known || session !== undefined) this.#connections.set(socket, session)
  }

  #addSession (session: Http2Session): void {
    this.#sessions.add(session)
    // It shows a stand-in of its socket only, whose methods return the socket itself.
    this.#add(session.socket.off('close', this.#onClose), session)
  }

  #requested (request: IncomingMessage | Http2ServerRequest, response: ServerResponse | Http2ServerResponse): void {
    if (!(response instanceof ServerResponse)) {
      // The first session of a further server.
      const { session } = (request as Http2ServerRequest).stream
      if (session !== undefined && !this.#sessions.has(session)) this.#addSession(session)
    } else if (this.#connections.has(request.socket)) {
      this.#connections.set(request.socket, response)
      response.on('close', this.#onAnswered)
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
  // Its header says so, if it was not sent yet.
  response.shouldKeepAlive = false
  response.once('finish', () => { socket.end(() => socket.destroy()) })
}

/** Listens to an event for as long as others do: with a listener of ours alone, Node would leave the connection to us. */
function alongside (server: Server, event: string, listener: (...args: never[]) => void): void {
  const follow = listener as (...args: unknown[]) => void // Which arguments they are depends on the event.
  const present = (): boolean => server.listeners(event).includes(follow)
  server.on('newListener', (name: string, added: unknown) => {
    if (name === event && added !== follow && !present()) server.on(event, follow)
  })
  server.on('removeListener', (name: string) => {
    if (name === event && present() && server.listenerCount(event) === 1) server.off(event, follow)
  })
  if (server.listenerCount(event) > 0) server.on(event, follow)
}
