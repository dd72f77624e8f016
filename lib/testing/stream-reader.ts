import { parseFrames } from '../client/sse-parser.ts'

/** An event of a stream. */
export interface StreamedEvent<Data = unknown> {
  /** Its type, such as `ready` or `message`. */
  event: string
  /** The event id, if it has one. */
  id: string | undefined
  /** Its data, parsed. */
  data: Data
}

// Taken when this is loaded: a test may replace the timers.
const { setTimeout, clearTimeout } = globalThis

/** Reads the events of a stream one after another. */
export class StreamReader {
  readonly #body: ReadableStreamDefaultReader<Uint8Array>
  readonly #timeoutMs: number
  /** The events that were not read yet. */
  readonly #events: StreamedEvent[] = []
  readonly #waiting = new Set<() => void>()
  #ended = false

  /** Use `openStream`. @internal */
  constructor (body: ReadableStream<Uint8Array>, timeoutMs: number) {
    this.#body = body.getReader()
    this.#timeoutMs = timeoutMs
    this.#readAll()
  }

  /**
   * Resolves with the next event, or with the next one of a type; events before it are skipped. Rejects if the stream
   * ends first, or if the event does not arrive in time.
   */
  async next<Data = unknown> (type?: string): Promise<StreamedEvent<Data>> {
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      this.#wake()
    }, this.#timeoutMs)
    try {
      for (;;) {
        const index = this.#events.findIndex(({ event }) => type === undefined || event === type)
        // Only the test knows the type of the data.
        if (index !== -1) return this.#events.splice(0, index + 1)[index] as StreamedEvent<Data>
        if (this.#ended || isLate) throw this.#missing(type)
        await new Promise<void>((resolve) => { this.#waiting.add(resolve) })
      }
    } finally {
      clearTimeout(timer)
    }
  }

  /** Disconnects. */
  async close (): Promise<void> {
    await this.#body.cancel()
  }

  #missing (type: string | undefined): Error {
    const what = type === undefined ? 'another event' : `an event \`${type}\``
    const others = this.#events.map(({ event }) => event).join(', ')
    const when = this.#ended ? 'before the stream ended' : `within ${this.#timeoutMs} ms`
    return new Error(`Expected ${what} ${when}, got ${others === '' ? 'none' : others}`)
  }

  /** Never rejects. */
  async #readAll (): Promise<void> {
    const read = parseFrames(({ event = 'message', id, data }) => {
      this.#events.push({ event, id, data: JSON.parse(data) })
    }, () => {})
    const decoder = new TextDecoder()
    try {
      for (;;) {
        const { done, value } = await this.#body.read()
        if (done) break
        read(decoder.decode(value, { stream: true }))
        this.#wake()
      }
    } catch {
      // The app has cut the connection: that is an end, too.
    }
    this.#ended = true
    this.#wake()
  }

  #wake (): void {
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
  }
}
