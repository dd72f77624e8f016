import type { OutgoingHttpHeaders } from 'node:http'
import { Connection, type ConnectionOptions, type RawResponse } from './connection.ts'
import { decodeFrames, joined, type Bytes, type Frame } from './frame.ts'
import { timing } from '../core/timing.ts'

/** Events that hold the current state when they come with `ready`. */
const STATE: ReadonlySet<string | undefined> = new Set(['presence', 'bot_message'])

/**
 * A stream as one JSON response, for clients behind a proxy that holds streams back. It collects what is written to it
 * and ends with the first event that the client does not have, or after `timing.longPoll`. The client then polls again
 * from `lastEventId`.
 */
export class LongPoll extends Connection {
  /** How many chats the client has a position in. */
  readonly #positions: number
  #headers: OutgoingHttpHeaders = {}
  #events: string[] = []
  /** The position that the client has with the response: its own until an event has another one. */
  #lastEventId: string | undefined
  #retryMs: number | undefined

  /** `lastEventId` is the position that the client has sent, if any. */
  constructor (raw: RawResponse, options: ConnectionOptions, lastEventId: string | undefined) {
    super(raw, options)
    this.#positions = positionsIn(lastEventId)
    this.#lastEventId = lastEventId
  }

  /** Keeps the headers, which are sent with the response. */
  override start (headers: OutgoingHttpHeaders): void {
    this.#headers = { ...headers, 'content-type': 'application/json; charset=utf-8' }
    this.endAfter(timing.longPoll)
  }

  /** Collects the frames, and responds if the client is to get them at once. */
  override write (bytes: Bytes): boolean {
    const frames = decodeFrames(joined(bytes))
    for (const frame of frames) this.#collect(frame)
    if (this.#isDue(frames)) this.finish()
    return !this.closed
  }

  /** Sends no heartbeat: the response has not begun. */
  override beat (): void {}

  override finish (): Promise<void> {
    if (!this.closed) this.#respond()
    return super.finish()
  }

  #collect ({ id, event, retry, json }: Frame): void {
    this.#lastEventId = id ?? this.#lastEventId
    // A frame without data asks the client to poll again later.
    if (json === undefined) this.#retryMs = retry
    else this.#events.push(`{${[...id === undefined ? [] : [field('id', id)], field('event', event)]},"data":${json}}`)
  }

  /**
   * What a chat writes first begins with `ready` and holds the current state, such as who is present. That alone is no
   * reason to respond, since the next poll gets the same. Only a client that lacked a position in a chat gets it at
   * once. A poll for several chats may lack some positions for long, so it waits for a further one.
   */
  #isDue (frames: readonly Frame[]): boolean {
    const events = frames.filter(({ json }) => json !== undefined)
    const begins = events.some(({ event }) => event === 'ready')
    return events.some(({ id, event }) => event === 'ready'
      ? positionsIn(id) > this.#positions
      : id !== undefined || !begins || !STATE.has(event))
  }

  #respond (): void {
    const retry = this.#retryMs === undefined ? '' : `,${field('retryMs', this.#retryMs)}`
    const body = `{"events":[${this.#events}],${field('lastEventId', this.#lastEventId ?? null)}${retry}}`
    try {
      super.start(this.#headers)
      super.write(Buffer.from(body))
    } catch {
      // Middleware that replaced a method has failed. The connection is destroyed.
    }
  }
}

/** How many parts of an event id are positions. */
function positionsIn (id = ''): number {
  return id.split('.').filter((part) => part !== '').length
}

function field (name: string, value: unknown): string {
  return `"${name}":${JSON.stringify(value)}`
}
