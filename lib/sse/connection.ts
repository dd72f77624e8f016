import { ServerResponse, type OutgoingHttpHeaders } from 'node:http'
import { constants, type Http2ServerResponse, type ServerHttp2Stream } from 'node:http2'
import { Socket } from 'node:net'
import { chunked } from './chunked.ts'
import { heartbeat } from './frame.ts'

/** What Node gives a handler to answer with, over HTTP/1.1 or HTTP/2. */
export type RawResponse = ServerResponse | Http2ServerResponse

/** Node's timers count to here. Ending a stream sooner than that does no harm. */
const LONGEST_TIMER = 2 ** 31 - 1

export interface ConnectionOptions {
  /** Bytes that may wait for the client before it is cut. */
  readonly maxBufferedBytes: number
  /** Milliseconds that the client has to take what is unsent when its stream ends. */
  readonly drainTimeoutMs: number
  /** Called when the client is cut because it does not keep up. */
  onSlow (): void
}

/** One client's open stream. Writing never throws; a client that doesn't keep up is cut. */
export class Connection {
  readonly #raw: RawResponse
  /** Where the bytes go: the response, or straight to its socket. */
  #out: RawResponse | Socket
  #direct = false
  readonly #options: ConnectionOptions
  #ended: Promise<void> | undefined
  #onClose: (() => void)[] = []
  /** Whose it is, where that is known. */
  userId: string | undefined
  /** Whether anything was written since the heartbeat last looked. */
  #written = true
  #closed = false
  /** One for all who wait: each listener of its own would look like a leak. */
  #drained: Promise<void> | undefined

  /** Takes over a response. */
  constructor (raw: RawResponse, options: ConnectionOptions) {
    this.#raw = this.#out = raw
    this.#options = options
    raw.on('close', () => this.#close())
    // A reset by the client is no error of ours: `close` follows.
    raw.on('error', ignore)
  }

  /**
   * Sends the headers, which must be fit to be sent. What follows goes straight to the socket where it is framed by `transfer-encoding:
   * chunked`: the response would frame the same bytes anew for each client, and write each frame in three pieces.
   */
  start (headers: OutgoingHttpHeaders): void {
    const raw = this.#raw
    try {
      raw.removeHeader('content-length')
      // All at once: those that were set one by one would stay in memory as long as the stream.
      raw.writeHead(200, headers)
      // Both have the method, but @types/node knows of one.
      ;(raw as ServerResponse).flushHeaders()
    } catch (error) {
      // Middleware that replaced a method has failed, and no error can be answered any more.
      this.destroy()
      throw error
    }
    // Something else may have put itself in between, and an injected request has no real socket.
    if (!(raw instanceof ServerResponse) || !raw.chunkedEncoding || raw.write !== ServerResponse.prototype.write || !(raw.socket instanceof Socket)) return
    this.#out = raw.socket
    this.#direct = true
  }

  /** Whether nothing can be written any more. */
  get closed (): boolean {
    return this.#closed
  }

  /** Nobody else fills it. */
  get crowded (): boolean {
    return false
  }

  /** Bytes that the client has not taken yet. */
  get bufferedBytes (): number {
    return this.#out.writableLength
  }

  /**
   * Writes, unless the stream is closed. A client that has more than `maxBufferedBytes` unsent from before is cut: it comes back when
   * it can. What is written now does not count, since no client could have taken it yet.
   */
  write (chunk: Buffer): boolean {
    if (this.#closed) return false
    // Framed, nothing would mean the end.
    if (chunk.length === 0) return true
    if (this.#out.writableLength > this.#options.maxBufferedBytes) {
      this.#options.onSlow()
      this.destroy()
      return false
    }
    this.#written = true
    try {
      // All have the method, but TypeScript finds no common overload.
      return (this.#out as Socket).write(this.#direct ? chunked(chunk) : chunk)
    } catch {
      // Middleware that replaced the method has failed.
      this.destroy()
      return false
    }
  }

  /** Writes as `write` does. Resolves once the client has taken it, with false if it is gone. */
  async writeAndDrain (chunk: Buffer): Promise<boolean> {
    if (this.write(chunk) || this.#closed) return !this.#closed
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
    return !this.#closed
  }

  /** It has no others to wait for. */
  inTurn<T> (work: () => Promise<T>): Promise<T> {
    return work()
  }

  /** Writes a heartbeat if nothing was written since the last call. What is still unsent keeps the connection alive by itself. */
  beat (): void {
    if (!this.#written && this.#out.writableLength === 0) this.write(heartbeat)
    this.#written = false
  }

  /** Calls back once the stream is closed, by whoever. Returns its undo. */
  onClose (callback: () => void): () => void {
    this.#onClose.push(callback)
    return () => { this.#onClose = this.#onClose.filter((other) => other !== callback) }
  }

  /** Calls back once the response is closed. That may be later than `onClose`: a stream that has ended may have bytes unsent. */
  onGone (callback: () => void): void {
    this.#raw.once('close', callback)
  }

  /** Ends the stream. Resolves once the client has received everything, or was cut since it did not within `drainTimeoutMs`. */
  end (): Promise<void> {
    return (this.#ended ??= this.#end())
  }

  async #end (): Promise<void> {
    const raw = this.#raw
    if (isGone(raw) || raw.writableFinished) return this.#close()
    await new Promise<void>((resolve) => {
      const deadline = setTimeout(() => this.destroy(), this.#options.drainTimeoutMs).unref()
      raw.once('close', () => {
        clearTimeout(deadline)
        resolve()
      })
      try {
        // Without a callback: middleware such as express-session replaces the method, and takes it for a chunk.
        raw.end()
      } catch {
        // The middleware has failed.
        raw.destroy()
      }
      this.#close()
    })
  }

  /** Ends the stream after so many milliseconds: its client comes back and is asked for its access again. */
  endAfter (ms: number): void {
    if (ms === Infinity) return
    const timer = setTimeout(() => this.end(), Math.min(ms, LONGEST_TIMER)).unref()
    this.onClose(() => clearTimeout(timer))
  }

  /** Cuts the client, whatever it still has to get. */
  destroy (): void {
    const raw = this.#raw
    // Over HTTP/2 `destroy` would look like a regular end. Once such a response is closed, it has no stream.
    if ('stream' in raw) (raw.stream as ServerHttp2Stream | undefined)?.close(constants.NGHTTP2_CANCEL)
    else raw.destroy()
    this.#close()
  }

  #close (): void {
    if (this.#closed) return
    this.#closed = true
    for (let callback = this.#onClose.shift(); callback !== undefined; callback = this.#onClose.shift()) callback()
  }
}

function ignore (): void {}

/** Whether the client has left. Its `close` may have been told before anybody listened. */
export function isGone (raw: RawResponse): boolean {
  // A response of HTTP/2 has neither `destroyed` nor, once it is closed, a socket.
  return 'stream' in raw ? raw.stream === undefined || raw.stream.destroyed : raw.destroyed || raw.socket?.destroyed === true
}

/** The session of HTTP/2 that a response belongs to. */
export function sessionOf (raw: RawResponse): object | undefined {
  return 'stream' in raw ? raw.stream.session : undefined
}
