import type { BotMessagePiece } from '../../lib/index.ts'
import type { EventStream, StreamEvent } from './event-stream.ts'

/** Assembles bot messages as a client does, by the one rule. */
export class BotMessageReader {
  readonly texts = new Map<string, string>()
  /** The events that ended an answer, of which there is one. */
  readonly ends = new Map<string, BotMessagePiece[]>()
  readonly pieces: BotMessagePiece[] = []
  /** Violations of the guarantees. */
  readonly faults: string[] = []
  /** The last id that was seen. */
  lastId: string | undefined

  /** Takes what is new of an event. Returns it if it is about an answer. */
  take ({ event, id, data }: StreamEvent): BotMessagePiece | undefined {
    this.lastId = id ?? this.lastId
    if (event === 'reset') this.texts.clear()
    if (event !== 'bot_message') return undefined
    const message = data as BotMessagePiece
    const before = this.texts.get(message.id) ?? ''
    // An empty piece only says how long the content is, for example if the bot message ended while it was read. The
    // next piece shows what is missing, unless it is an end that repeats everything.
    if (message.at > before.length && message.text !== '') {
      this.faults.push(`${message.id}: a piece at ${message.at} after ${before.length} characters`)
    }
    this.texts.set(message.id, before.slice(0, message.at) + (message.text ?? ''))
    const isEnd = message.status !== 'streaming'
    if (isEnd !== (id !== undefined)) this.faults.push(`${message.id}: ${message.status} with the id ${id}`)
    if (!isEnd && this.ends.has(message.id)) this.faults.push(`${message.id}: a piece after its end`)
    if (isEnd) this.ends.set(message.id, [...this.ends.get(message.id) ?? [], message])
    else this.pieces.push(message)
    return message
  }

  /** Reads until an answer has ended. Returns that event. */
  async end (stream: EventStream): Promise<BotMessagePiece> {
    for (;;) {
      const message = this.take(await stream.next())
      if (message !== undefined && message.status !== 'streaming') return message
    }
  }

  /** Reads until an answer has this text. */
  async text (stream: EventStream, id: string, text: string): Promise<void> {
    while (this.texts.get(id) !== text) this.take(await stream.next())
  }
}
