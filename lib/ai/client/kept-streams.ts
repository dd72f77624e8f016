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
  /** The ids of those that were dropped. */
  readonly #dropped = new Set<string>()

  receive (event: BotMessagePiece): void {
    const { id } = event
    if (this.#dropped.has(id)) return
    const kept = this.#kept.get(id) ?? { stream: new ChunkStream(), size: 0 }
    this.#kept.set(id, kept)
    kept.stream.receive(event)
    const size = JSON.stringify(event.chunks).length
    kept.size += size
    this.#size += size
    while (this.#size > MOST_KEPT && this.#kept.size > 1) this.#dropOldest()
  }

  /** The chunks of a bot message; `undefined` if none was received, or if they were dropped. */
  get (id: string): ChunkStream | undefined {
    return this.#kept.get(id)?.stream
  }

  #dropOldest (): void {
    const [id, { size }] = this.#kept.entries().next().value as [string, { stream: ChunkStream, size: number }]
    this.#kept.delete(id)
    this.#size -= size
    this.#dropped.add(id)
  }
}
