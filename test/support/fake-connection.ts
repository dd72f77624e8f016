import type { Connection } from '../../lib/sse/connection.ts'
import { joined, type Bytes } from '../../lib/sse/frame.ts'

export interface Frame {
  event: string | undefined
  id: string | undefined
  retry: string | undefined
  data: Buffer
}

const END = Buffer.from('\n\n')

/** A stream without a network. A slow one accepts `writeAndDrain` only when the test calls `drain`. */
export class FakeConnection {
  closed = false
  readonly slow: boolean
  readonly #onFrame: (frame: Frame) => void
  readonly #onClose = new Set<() => void>()
  readonly #draining = new Set<() => void>()

  constructor (onFrame: (frame: Frame) => void, slow = false) {
    this.#onFrame = onFrame
    this.slow = slow
  }

  /** All that rooms use of a connection is here. */
  get asConnection (): Connection {
    return this as unknown as Connection
  }

  write (bytes: Bytes): void {
    if (this.closed) return
    const chunk = joined(bytes)
    for (let at = 0; at < chunk.length;) {
      const end = chunk.indexOf(END, at)
      this.#onFrame(parse(chunk.subarray(at, end)))
      at = end + END.length
    }
  }

  async writeAndDrain (bytes: Bytes): Promise<void> {
    this.write(bytes)
    if (this.slow && !this.closed) await new Promise<void>((resolve) => { this.#draining.add(resolve) })
  }

  inTurn<T> (work: () => Promise<T>): Promise<T> {
    return work()
  }

  drain (): void {
    for (const resolve of this.#draining) resolve()
    this.#draining.clear()
  }

  onClose (callback: () => void): () => void {
    this.#onClose.add(callback)
    return () => { this.#onClose.delete(callback) }
  }

  async end (): Promise<void> {
    this.destroy()
  }

  destroy (): void {
    if (this.closed) return
    this.closed = true
    for (const callback of this.#onClose) callback()
    this.drain()
  }
}

function parse (frame: Buffer): Frame {
  const dataAt = frame.indexOf('data: ')
  const head = frame.toString('utf8', 0, dataAt)
  const field = (name: string): string | undefined => new RegExp(`^${name}: (.*)$`, 'm').exec(head)?.[1]
  return { event: field('event'), id: field('id'), retry: field('retry'), data: frame.subarray(dataAt + 6) }
}
