import type { Test } from 'tap'
import type { BotMessage, BotMessagePiece } from '../../../lib/index.ts'
import { EventStream } from '../../support/event-stream.ts'
import { until } from '../../support/until.ts'

/** A client that reads one long bot message: by the one rule, and by a request where it has less than a piece needs. */
export class LongReader {
  text = ''
  chunks: unknown[] = []
  /** The size of the largest piece, in bytes of JSON. */
  largest = 0
  fetches = 0
  /** The event that ended the bot message. */
  readonly end: Promise<BotMessagePiece>
  readonly #url: string

  private constructor (url: string, stream: EventStream) {
    this.#url = url
    this.end = this.#read(stream)
    this.end.catch(() => {})
  }

  /** Opens the chat `c` on an instance, after its `ready`. */
  static async open (t: Test, url: string): Promise<LongReader> {
    const stream = await EventStream.open(t, `${url}/api/chats/c/events`)
    await stream.next()
    return new LongReader(`${url}/api/chats/c/bot-messages`, stream)
  }

  get length (): number {
    return Math.max(this.text.length, this.chunks.length)
  }

  async reaches (length: number): Promise<void> {
    await until(async () => this.length, (now) => now >= length)
  }

  async #read (stream: EventStream): Promise<BotMessagePiece> {
    for (;;) {
      const { event, data } = await stream.next()
      if (event !== 'bot_message') continue
      const piece = data as BotMessagePiece
      this.largest = Math.max(this.largest, Buffer.byteLength(JSON.stringify(piece)))
      if (piece.at > this.length) await this.#fetch(piece.id)
      this.#apply(piece.at, piece)
      if (piece.status !== 'streaming') return piece
    }
  }

  #apply (at: number, { text = '', chunks = [] }: Pick<BotMessagePiece, 'text' | 'chunks'>): void {
    this.text = this.text.slice(0, at) + text
    this.chunks.splice(at, Infinity, ...chunks)
  }

  async #fetch (id: string): Promise<void> {
    this.fetches++
    const response = await fetch(`${this.#url}/${id}?at=${this.length}`)
    const { at, ...rest } = await response.json() as BotMessage & { at: number }
    this.#apply(at, rest)
  }
}
