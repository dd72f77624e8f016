import type { BotMessagePiece } from '../../event-types.ts'
import { ChunkStream } from './chunk-stream.ts'

/** How many characters of chunks are kept, unless they are all of one bot message. */
const MOST_KEPT = 1_048_576

/**
 * The chunks of all bot messages of a chat, until it is known which one is streamed. If they take too much, those of
 * the oldest are dropped: they can be requested.
 */
export class KeptStreams {
  /** The oldest comes first. */
  readonly #kept = new Map<string, { stream: ChunkStream, size: number }>()
  #size = 0
  /** The JSON of the first chunks of those that were dropped, by id. */
  readonly #dropped = new Map<string, string>()

  /** Adds the chunks of a piece. Returns the stream, and `undefined` if the bot message was dropped. */
  receive (event: BotMessagePiece): ChunkStream | undefined {
    const { id } = event
    if (this.#dropped.has(id)) return undefined
    const kept = this.#kept.get(id) ?? { stream: new ChunkStream(), size: 0 }
    this.#kept.set(id, kept)
    kept.stream.receive(event)
    const size = JSON.stringify(event.chunks).length
    kept.size += size
    this.#size += size
    while (this.#size > MOST_KEPT && this.#kept.size > 1) this.#dropOldest()
    return kept.stream
  }

  * [Symbol.iterator] (): Generator<[id: string, stream: ChunkStream]> {
    for (const [id, { stream }] of this.#kept) yield [id, stream]
  }

  /** The id of the bot message that was dropped and began with this chunk, as JSON. */
  droppedId (first: string): string | undefined {
    return [...this.#dropped].find(([, json]) => json === first)?.[0]
  }

  /** Keeps a bot message that was dropped from now on: it must be received from the beginning. */
  keepAgain (id: string): void {
    this.#dropped.delete(id)
  }

  #dropOldest (): void {
    const [id, { stream, size }] = this.#kept.entries().next().value as [string, { stream: ChunkStream, size: number }]
    this.#kept.delete(id)
    this.#size -= size
    this.#dropped.set(id, JSON.stringify(stream.first))
  }
}
