import { ServerResponse, type OutgoingHttpHeaders } from 'node:http'
import { constants, type Http2ServerResponse, type ServerHttp2Stream } from 'node:http2'
import { Socket } from 'node:net'
import { bytesOf, heartbeat, joined, writeChunk, type Bytes, type ChunkEncoder } from './frame.ts'
import type { ConnectionValues } from './options.ts'

/** Node's response object, over HTTP/1.1 or HTTP/2. */
export type RawResponse = ServerResponse | Http2ServerResponse

/** The longest delay of a Node timer, in milliseconds. Ending a stream earlier than asked does no harm. */
const LONGEST_TIMER = 2 ** 31 - 1

/** Buffers with fewer bytes in all are copied into one, which takes less than several writes. */
const MIN_SHARED = 4_096

export interface ConnectionOptions extends Readonly<Pick<ConnectionValues, 'maxBufferedBytes' | 'drainTimeoutMs'>> {
  /** Shared by all connections of an app, since a room writes the same bytes to many. */
  chunks: ChunkEncoder
  /** Called when a client is disconnected because it is too slow. */
  onSlow (): void
}

/** What a stream holds until its response is closed. */
interface Held { release (): void }

type State =
  | { readonly name: 'open' }
  /** Nothing can be written any more. The client receives what is unsent; `ended` resolves when its response closes. */
  | { readonly name: 'ending', readonly ended: Promise<void> }
  /** The response is closed or was destroyed. */
  | { readonly name: 'closed' }

const OPEN: State = { name: 'open' }
const CLOSED: State = { name: 'closed' }

/** One client's open stream. Writing never throws; a client that is too slow is disconnected. */
export class Connection {
  readonly #raw: RawResponse
  /** The target of writes: the response, or its socket directly. */
  #out: RawResponse | Socket
  readonly #options: ConnectionOptions
  readonly #endsByCutting: boolean
  #state = OPEN
  #onClose: (() => void)[] = []
  #onGone: ((connection: Connection) => void) | undefined
  #held: Held | undefined
  /** The user of the stream, if known. */
  userId: string | undefined
  /** True if anything was written since the last heartbeat tick. */
  #written = true
  /** Shared by all callers that wait: one listener per caller would trigger Node's listener leak warning. */
  #drained: Promise<void> | undefined

  /**
   * Takes over a response. With `endsByCutting`, `end` cuts the connection: the client would take a clean end for a
   * complete response.
   */
  constructor (raw: RawResponse, options: ConnectionOptions, endsByCutting = false) {
    this.#raw = this.#out = raw
    this.#options = options
    this.#endsByCutting = endsByCutting
    raw.on('close', () => {
      this.#held?.release()
      this.#to(CLOSED)
      this.#onGone?.(this)
    })
    // A connection reset by the client is not an error of the app; `close` follows.
    raw.on('error', ignore)
  }

  /**
   * Sends the headers, which must be valid. If the response uses `transfer-encoding: chunked`, later writes go
   * straight to the socket: the response would frame the same bytes again for each client, and write each frame in
   * three pieces. What is written to the socket before the next tick goes out together with the headers.
   */
  start (headers: OutgoingHttpHeaders): void {
    const raw = this.#raw
    try {
      raw.removeHeader('content-length')
      // Set all headers in one call: headers that are set one by one stay in memory as long as the stream.
      raw.writeHead(200, headers)
      const socket = socketOf(raw)
      if (socket !== undefined) {
        this.#out = socket
        socket.cork()
        process.nextTick(uncork, socket)
      }
      // Both response types have the method, but @types/node declares it on one only.
      ;(raw as ServerResponse).flushHeaders()
    } catch (error) {
      // Middleware that replaced a method has failed, and it is too late to send an error response.
      this.destroy()
      throw error
    }
  }

  /** True once nothing can be written any more. */
  get closed (): boolean {
    return this.#state.name !== 'open'
  }

  /** As `EventSink` requires. Always false: no other chat shares this connection. */
  get crowded (): boolean {
    return false
  }

  /** Bytes that the client has not received yet. */
  get bufferedBytes (): number {
    return this.#out.writableLength
  }

  /**
   * Writes bytes, unless the stream is closed. A client with more than `maxBufferedBytes` unsent from earlier writes is
   * disconnected, and can reconnect. The bytes themselves do not count, since no client could have received them yet.
   * Returns false if `drain` follows or the stream is closed.
   */
  write (bytes: Bytes): boolean {
    if (this.closed) return false
    // With chunked encoding, an empty chunk ends the response.
    const size = bytesOf(bytes)
    if (size === 0) return true
    if (this.#isSlow()) {
      this.#options.onSlow()
      this.destroy()
      return false
    }
    this.#written = true
    try {
      // All targets have the methods, but TypeScript finds no common overload.
      const out = this.#out as Socket
      if (this.#out === this.#raw) return out.write(joined(bytes))
      if (!Buffer.isBuffer(bytes) && size >= MIN_SHARED) return writeChunk(out, bytes)
      return out.write(this.#options.chunks.encode(joined(bytes)))
    } catch {
      // Middleware that replaced the method has failed.
      this.destroy()
      return false
    }
  }

  /**
   * Writes as `write` does. Resolves with true once the bytes are sent, or with false if the client has disconnected.
   */
  async writeAndDrain (bytes: Bytes): Promise<boolean> {
    if (this.write(bytes) || this.closed) return !this.closed
    this.#drained ??= new Promise<void>((resolve) => {
      const done = (): void => {
        this.#drained = undefined
        this.#out.off('drain', done)
        off()
        resolve()
      }
      const off = this.onClose(done)
      this.#out.once('drain', done)
    })
    await this.#drained
    return !this.closed
  }

  /** As `EventSink` requires. Runs at once: this connection carries one chat only, so there is no queue. */
  inTurn<T> (work: () => Promise<T>): Promise<T> {
    return work()
  }

  /**
   * Writes a heartbeat if nothing was written since the last call, not even a heartbeat. Unsent bytes keep the
   * connection alive by themselves.
   */
  beat (): void {
    if (this.#written) this.#written = false
    else if (this.#out.writableLength === 0) this.write(heartbeat)
  }

  /** Calls back once the stream is closed by either side. Returns a function that removes the callback. */
  onClose (callback: () => void): () => void {
    // `push` would reserve space for 17 callbacks, and so would `filter` below.
    this.#onClose = this.#onClose.concat([callback])
    return () => {
      const index = this.#onClose.indexOf(callback)
      if (index !== -1) this.#onClose.splice(index, 1)
    }
  }

  /**
   * Calls back once the response is closed. That may be later than `onClose`: a stream that has ended may have unsent
   * bytes. There is one callback; it gets this connection, so that all connections can share it.
   */
  onGone (callback: (connection: Connection) => void): void {
    this.#onGone = callback
  }

  /** Releases `held` once the response is closed, as `onGone` calls back. */
  hold (held: Held): void {
    this.#held = held
  }

  /**
   * Ends the stream before it is complete. Resolves once the client has received everything, or was disconnected after
   * `drainTimeoutMs`.
   */
  end (): Promise<void> {
    if (this.#endsByCutting && this.#state.name === 'open') this.destroy()
    return this.finish()
  }

  /** Ends the stream, which is complete. Resolves as `end` does. */
  finish (): Promise<void> {
    if (this.#state.name === 'open') this.#end()
    return this.#state.name === 'ending' ? this.#state.ended : Promise.resolve()
  }

  /** True if the client has left more than `maxBufferedBytes` of earlier writes unread. */
  #isSlow (): boolean {
    const out = this.#out
    const { maxBufferedBytes } = this.#options
    if (out.writableLength <= maxBufferedBytes) return false
    this.#flush()
    return out.writableLength > maxBufferedBytes
  }

  /** Sends what waits for the next tick: see `start`. */
  #flush (): void {
    if (this.#out instanceof Socket) this.#out.uncork()
  }

  #end (): void {
    const raw = this.#raw
    if (isDisconnected(raw) || raw.writableFinished) return this.#to(CLOSED)
    const deadline = setTimeout(() => this.destroy(), this.#options.drainTimeoutMs).unref()
    const ended = new Promise<void>((resolve) => {
      raw.once('close', () => {
        clearTimeout(deadline)
        resolve()
      })
    })
    try {
      // No callback: middleware such as express-session replaces the method, and would take the callback for a chunk.
      raw.end()
    } catch {
      // Middleware that replaced the method has failed.
      this.#flush()
      raw.destroy()
    }
    this.#to({ name: 'ending', ended })
  }

  /** Ends the stream after the given milliseconds. Its client reconnects and is authorized again. */
  endAfter (ms: number): void {
    if (ms === Infinity) return
    const timer = setTimeout(() => this.end(), Math.min(ms, LONGEST_TIMER)).unref()
    this.onClose(() => clearTimeout(timer))
  }

  /** Disconnects the client at once and drops all unsent bytes. A client whose stream has started gets its headers. */
  destroy (): void {
    const raw = this.#raw
    this.#flush()
    // Over HTTP/2, `destroy` would look like a regular end. A closed HTTP/2 response has no stream.
    if ('stream' in raw) (raw.stream as ServerHttp2Stream | undefined)?.close(constants.NGHTTP2_CANCEL)
    else raw.destroy()
    this.#to(CLOSED)
  }

  /** The only place that changes the state. No stream opens again, so the callbacks of `onClose` run once. */
  #to (state: State): void {
    this.#state = state
    for (let callback = this.#onClose.shift(); callback !== undefined; callback = this.#onClose.shift()) callback()
  }
}

function ignore (): void {}

function uncork (socket: Socket): void {
  socket.uncork()
}

/**
 * Returns the socket that frames can be written to past the response; `undefined` if middleware has wrapped the
 * response, or if an injected request has no real socket.
 */
function socketOf (raw: RawResponse): Socket | undefined {
  return raw instanceof ServerResponse && raw.chunkedEncoding && raw.write === ServerResponse.prototype.write &&
    raw.socket instanceof Socket
    ? raw.socket
    : undefined
}

/** True if the client has disconnected. Its `close` event may have been emitted before a listener was added. */
export function isDisconnected (raw: RawResponse): boolean {
  // An HTTP/2 response has no `destroyed` property and, once it is closed, no socket.
  return 'stream' in raw
    ? raw.stream === undefined || raw.stream.destroyed
    : raw.destroyed || raw.socket?.destroyed === true
}

/** The HTTP/2 session that a response belongs to; `undefined` over HTTP/1.1. */
export function sessionOf (raw: RawResponse): object | undefined {
  return 'stream' in raw ? raw.stream.session : undefined
}
