import type { Cursor } from '../pubsub/cursor.ts'
import { formatPart } from './multi-chat-id.ts'
import type { Connection } from '../sse/connection.ts'
import type { ChatFrame } from './frames.ts'
import type { EventSink } from './event-sink.ts'
import { budgets } from '../core/budgets.ts'

/** A chat that a connection for several carries. */
export interface ChatPart {
  /** Where its client wants to go on from. */
  after: Cursor | 'invalid' | undefined
  userId: string | undefined
}

/** How many bytes may wait before those who come back wait for each other. */
const CROWDED_BYTES = 65_536

/**
 * One connection for several chats. Each chat writes to a seat of its own, what its room writes to every stream; the id of a frame is widened
 * to the places of all chats, as they are once the client has read it.
 */
export class MultiChatStream {
  readonly all: readonly EventSink[]
  readonly #connection: Connection
  readonly #parts: string[]
  /** What was written in this turn of the event loop. It goes out as one write, as what one room has of one turn does. */
  #pending: Buffer[] = []
  #pendingBytes = 0
  /** Those who come back take turns: all at once they would look like a client that doesn't keep up. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor (connection: Connection, parts: readonly ChatPart[]) {
    this.#connection = connection
    // Until a chat has been written anything, its place is the one that the client came with.
    this.#parts = parts.map(({ after }) => formatPart(after))
    this.all = parts.map(({ userId }, index) => new ChatSink(this, connection, index, userId))
  }

  get crowded (): boolean {
    return this.#pendingBytes + this.#connection.bufferedBytes > CROWDED_BYTES
  }

  write (index: number, frames: readonly ChatFrame[]): void {
    if (this.#connection.closed) return
    if (this.#pending.length === 0) setImmediate(() => this.flush())
    for (const frame of frames) {
      if (frame.cursor !== undefined) {
        this.#parts[index] = frame.part
        this.#push(Buffer.from(`id: ${this.#parts.join('.')}\n`))
      }
      this.#push(frame.body)
    }
  }

  /** Only in the chat's turn. */
  writeAndDrain (index: number, frames: readonly ChatFrame[]): Promise<unknown> {
    this.write(index, frames)
    return this.#connection.writeAndDrain(this.#take())
  }

  /** Does what one chat wants to do, after what others wanted before. It must not reject. */
  inTurn<T> (work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work)
    this.#turn = done
    return done
  }

  flush (): void {
    this.#connection.write(this.#take())
  }

  #push (bytes: Buffer): void {
    this.#pending.push(bytes)
    this.#pendingBytes += bytes.length
    if (this.#pendingBytes > budgets.turn) this.flush()
  }

  #take (): Buffer {
    const pending = Buffer.concat(this.#pending)
    this.#pending = []
    this.#pendingBytes = 0
    return pending
  }
}

/** The place of one chat on a connection for several. */
class ChatSink implements EventSink {
  readonly userId: string | undefined
  readonly #parent: MultiChatStream
  readonly #connection: Connection
  readonly #index: number

  constructor (parent: MultiChatStream, connection: Connection, index: number, userId: string | undefined) {
    this.userId = userId
    this.#parent = parent
    this.#connection = connection
    this.#index = index
  }

  get closed (): boolean {
    return this.#connection.closed
  }

  get crowded (): boolean {
    return this.#parent.crowded
  }

  write (_chunk: Buffer, frames: readonly ChatFrame[]): void {
    this.#parent.write(this.#index, frames)
  }

  writeAndDrain (_chunk: Buffer, frames: readonly ChatFrame[]): Promise<unknown> {
    return this.#parent.writeAndDrain(this.#index, frames)
  }

  inTurn<T> (work: () => Promise<T>): Promise<T> {
    return this.#parent.inTurn(work)
  }

  onClose (callback: () => void): () => void {
    return this.#connection.onClose(callback)
  }

  end (): Promise<void> {
    this.#parent.flush()
    return this.#connection.end()
  }
}
