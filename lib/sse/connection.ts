import type { ServerResponse } from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import { heartbeat } from './frame.ts'

/** What Node gives a handler to answer with, over HTTP/1.1 or HTTP/2. */
export type RawResponse = ServerResponse | Http2ServerResponse

/** One client's open stream. Writing never waits and never throws; a client that doesn't keep up is cut. */
export class Connection {
  readonly #raw: RawResponse
  readonly #maxBufferedBytes: number
  readonly #onClose = new Set<() => void>()
  /** Whether anything was written since the heartbeat last looked. */
  #written = true
  #closed = false

  /** Takes over a response whose headers are set. */
  constructor (raw: RawResponse, maxBufferedBytes: number) {
    this.#raw = raw
    this.#maxBufferedBytes = maxBufferedBytes
    raw.once('close', () => this.#close())
    // A reset by the client is no error of ours: `close` follows.
    raw.on('error', () => {})
  }

  /** Whether nothing can be written any more. */
  get closed (): boolean {
    return this.#closed
  }

  /** Writes, unless the stream is closed. A client with too much unsent is cut: it comes back when it can. */
  write (chunk: Buffer): void {
    if (this.#closed) return
    this.#written = true
    write(this.#raw, chunk)
    if (this.#raw.writableLength > this.#maxBufferedBytes) this.destroy()
  }

  /** Writes without regard to `maxBufferedBytes`. Resolves once the client has taken it, or is gone. */
  async writeAndDrain (chunk: Buffer): Promise<void> {
    if (this.#closed) return
    this.#written = true
    if (write(this.#raw, chunk)) return
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#raw.off('drain', done)
        off()
        resolve()
      }
      const off = this.onClose(done)
      this.#raw.once('drain', done)
    })
  }

  /** Writes a heartbeat if nothing was written since the last call. */
  beat (): void {
    if (!this.#written) this.write(heartbeat)
    this.#written = false
  }

  /** Calls back once the stream is closed, by whoever. Returns its undo. */
  onClose (callback: () => void): () => void {
    this.#onClose.add(callback)
    return () => { this.#onClose.delete(callback) }
  }

  /** Ends the stream. Resolves once the client has got everything, or is gone. */
  async end (): Promise<void> {
    if (this.#raw.destroyed || this.#raw.writableFinished) return
    await new Promise<void>((resolve) => {
      this.#raw.once('close', resolve)
      // Without waiting for `finish`, closing the server would truncate it.
      this.#raw.end(resolve)
      this.#close()
    })
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

/** The two kinds of response have the method, but TypeScript finds no common overload. */
function write (raw: RawResponse, chunk: Buffer): boolean {
  return (raw as ServerResponse).write(chunk)
}
