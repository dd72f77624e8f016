import type { ServerResponse } from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import type { Socket } from 'node:net'
import { heartbeat } from './frame.ts'

/** What Node gives a handler to answer with, over HTTP/1.1 or HTTP/2. */
export type RawResponse = ServerResponse | Http2ServerResponse

/** Node's timers count to here. Ending a stream sooner than that does no harm. */
const LONGEST_TIMER = 2 ** 31 - 1

/** One client's open stream. Writing never throws; a client that doesn't keep up is cut. */
export class Connection {
  readonly #raw: RawResponse
  readonly #maxBufferedBytes: number
  readonly #onSlow: () => void
  readonly #onClose = new Set<() => void>()
  /** Whose it is, where that is known. */
  userId: string | undefined
  /** Whether anything was written since the heartbeat last looked. */
  #written = true
  #closed = false

  /** Takes over a response whose headers are set. `onSlow` is told if it cuts the client for not keeping up. */
  constructor (raw: RawResponse, maxBufferedBytes: number, onSlow = (): void => {}) {
    this.#raw = raw
    this.#maxBufferedBytes = maxBufferedBytes
    this.#onSlow = onSlow
    raw.once('close', () => this.#close())
    // A reset by the client is no error of ours: `close` follows.
    raw.on('error', () => {})
  }

  /** Whether nothing can be written any more. */
  get closed (): boolean {
    return this.#closed
  }

  /** Bytes that the client has not taken yet. */
  get bufferedBytes (): number {
    return this.#raw.writableLength
  }

  /**
   * Writes, unless the stream is closed. A client that has more than `maxBufferedBytes` unsent from before is cut: it comes back when
   * it can. What is written now does not count, since no client could have taken it yet.
   */
  write (chunk: Buffer): boolean {
    if (this.#closed) return false
    if (this.#raw.writableLength > this.#maxBufferedBytes) {
      this.#onSlow()
      this.destroy()
      return false
    }
    this.#written = true
    // The two kinds of response have the method, but TypeScript finds no common overload.
    return (this.#raw as ServerResponse).write(chunk)
  }

  /** Writes as `write` does. Resolves once the client has taken it, with false if it is gone. */
  async writeAndDrain (chunk: Buffer): Promise<boolean> {
    if (this.write(chunk) || this.#closed) return !this.#closed
    return await new Promise<boolean>((resolve) => {
      const done = (): void => {
        this.#raw.off('drain', done)
        off()
        resolve(!this.#closed)
      }
      const off = this.onClose(done)
      this.#raw.once('drain', done)
    })
  }

  /** Writes a heartbeat if nothing was written since the last call. What is still unsent keeps the connection alive by itself. */
  beat (): void {
    if (!this.#written && this.#raw.writableLength === 0) this.write(heartbeat)
    this.#written = false
  }

  /** Calls back once the stream is closed, by whoever. Returns its undo. */
  onClose (callback: () => void): () => void {
    this.#onClose.add(callback)
    return () => { this.#onClose.delete(callback) }
  }

  /** Ends the stream. Resolves once the client has got everything, or is gone. */
  async end (): Promise<void> {
    if (isGone(this.#raw) || this.#raw.writableFinished) return this.#close()
    await new Promise<void>((resolve) => {
      this.#raw.once('close', resolve)
      // Without waiting for `finish`, closing the server would truncate it.
      this.#raw.end(resolve)
      this.#close()
    })
  }

  /** Ends the stream after so many milliseconds: its client comes back and is asked for its access again. */
  endAfter (ms: number): void {
    if (ms === Infinity) return
    const timer = setTimeout(() => this.hangUp(), Math.min(ms, LONGEST_TIMER)).unref()
    this.onClose(() => clearTimeout(timer))
  }

  /** Ends the stream, and with it the connection over HTTP/1.1, on which a closing server would answer 503 to what is asked next. */
  async hangUp (): Promise<void> {
    // (A request that was injected has a socket that can't.)
    const { socket } = this.#raw
    await this.end()
    if (!('stream' in this.#raw)) (socket as Socket | null)?.destroySoon?.()
  }

  /** Cuts the client, whatever it still has to get. */
  destroy (): void {
    this.#raw.destroy()
    this.#close()
  }

  #close (): void {
    if (this.#closed) return
    this.#closed = true
    for (const callback of this.#onClose) callback()
    this.#onClose.clear()
  }
}

/** Whether the client has left. Its `close` may have been told before anybody listened. */
export function isGone (raw: RawResponse): boolean {
  // A response of HTTP/2 has neither `destroyed` nor, once it is closed, a socket.
  return 'stream' in raw ? raw.stream === undefined || raw.stream.destroyed : raw.destroyed || raw.socket?.destroyed === true
}

/** The session of HTTP/2 that a response belongs to. */
export function sessionOf (raw: RawResponse): object | undefined {
  return 'stream' in raw ? raw.stream.session : undefined
}
