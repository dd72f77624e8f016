import { once } from 'node:events'
import { constants, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2'
import { Readable } from 'node:stream'
import type { Test } from 'tap'
import { createParser } from 'eventsource-parser'
import { inTime } from './in-time.ts'

export interface StreamEvent {
  event: string
  id: string | undefined
  data: unknown
}

/** A client that reads a stream event by event. */
export class EventStream {
  readonly response: Response
  readonly comments: string[] = []
  readonly retries: number[] = []
  readonly #abort: AbortController
  readonly #events: StreamEvent[] = []
  #wake: () => void = () => {}
  #changed = this.#nextChange()
  #ended = false

  private constructor (response: Response, abort: AbortController) {
    this.response = response
    this.#abort = abort
    this.#read()
  }

  /** Opens a stream with `fetch` and closes it with the test. */
  static async open (t: Test, url: string, init: RequestInit = {}): Promise<EventStream> {
    const abort = new AbortController()
    const stream = new EventStream(await fetch(url, { ...init, signal: abort.signal }), abort)
    t.teardown(() => stream.close())
    return stream
  }

  /** Opens a stream on a session of HTTP/2, which `fetch` does not speak, and closes it with the test. */
  static async overHttp2 (
    t: Test, session: ClientHttp2Session, path: string, headers: Record<string, string> = {}
  ): Promise<EventStream> {
    const request = session.request({ ':path': path, ...headers })
    const [{ ':status': status, ...rest }] = (await once(request, 'response')) as [
      IncomingHttpHeaders & { ':status': number }
    ]
    const abort = new AbortController()
    abort.signal.addEventListener('abort', () => request.close(constants.NGHTTP2_CANCEL))
    // The web's type and Node's are the same thing under two names.
    const body = Readable.toWeb(request) as ReadableStream
    const stream = new EventStream(
      new Response(body, { status, headers: Object.entries(rest) as [string, string][] }),
      abort
    )
    t.teardown(() => stream.close())
    return stream
  }

  /** The next event; throws if the stream ends before. */
  async next (): Promise<StreamEvent> {
    await this.#until(() => this.#events.length > 0)
    return this.#events.shift() as StreamEvent
  }

  async take (count: number): Promise<StreamEvent[]> {
    const events: StreamEvent[] = []
    while (events.length < count) events.push(await this.next())
    return events
  }

  async comment (): Promise<void> {
    const before = this.comments.length
    await this.#until(() => this.comments.length > before)
  }

  /** Resolves when the server has ended the stream, with the events that were left. */
  async end (): Promise<StreamEvent[]> {
    while (!this.#ended) await inTime(this.#changed, 'The end of the stream')
    return this.#events
  }

  close (): void {
    this.#abort.abort()
  }

  async #until (fulfilled: () => boolean): Promise<void> {
    while (!fulfilled()) {
      if (this.#ended) throw new Error('The stream has ended')
      await inTime(this.#changed, 'The next event of the stream')
    }
  }

  #nextChange (): Promise<void> {
    return new Promise((resolve) => { this.#wake = resolve })
  }

  #change (): void {
    const wake = this.#wake
    this.#changed = this.#nextChange()
    wake()
  }

  async #read (): Promise<void> {
    const parser = createParser({
      onEvent: ({ event = 'message', id, data }) => { this.#events.push({ event, id, data: JSON.parse(data) }) },
      onComment: (comment) => { this.comments.push(comment) },
      onRetry: (retry) => { this.retries.push(retry) }
    })
    const decoder = new TextDecoder()
    try {
      for await (const chunk of this.response.body ?? []) {
        parser.feed(decoder.decode(chunk, { stream: true }))
        this.#change()
      }
    } catch {
      // Aborted here or cut by the server: both are an end.
    }
    this.#ended = true
    this.#change()
  }
}
