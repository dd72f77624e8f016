import type { Cursor } from '../pubsub/cursor.ts'
import { formatPart } from './multi-chat-id.ts'
import type { Connection } from '../sse/connection.ts'
import type { Bytes } from '../sse/frame.ts'
import type { ChatFrame } from './frames.ts'
import type { EventSink } from './event-sink.ts'
import { budgets } from '../core/budgets.ts'

/** What a multi-chat stream is created with for each of its chats. */
interface ChatPart {
  /** The position from which the client wants to continue. */
  after: Cursor | 'invalid' | undefined
  userId: string | undefined
}

/** If more bytes than this are unsent, chats that catch up wait for each other. */
const CROWDED_BYTES = 65_536

/**
 * One connection for several chats, each with a sink. The stream gives each frame an id that has the positions of all
 * chats, since the client resumes all of them from its last event.
 */
export class MultiChatStream {
  readonly sinks: readonly EventSink[]
  readonly #connection: Connection
  /** For each chat, its part of the event id: the position that the client has reached in it. */
  readonly #idParts: string[]
  /** Bytes of this turn of the event loop. They go out as one write, like the frames of a room. */
  #pending: Buffer[] = []
  #pendingBytes = 0
  /** Settles after the last work. Chats that catch up take turns: if all wrote at once, the client would seem slow. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor (connection: Connection, parts: readonly ChatPart[]) {
    this.#connection = connection
    // Until a chat gets its first event, its part is the position that the client sent.
    this.#idParts = parts.map(({ after }) => formatPart(after))
    this.sinks = parts.map(({ userId }, index) => new ChatSink(this, connection, index, userId))
  }

  get crowded (): boolean {
    return this.#pendingBytes + this.#connection.bufferedBytes > CROWDED_BYTES
  }

  write (index: number, frames: readonly ChatFrame[]): void {
    if (this.#connection.closed) return
    if (this.#pending.length === 0) setImmediate(() => this.flush())
    for (const frame of frames) {
      if (frame.cursor !== undefined) {
        this.#idParts[index] = frame.part
        this.#push(Buffer.from(`id: ${this.#idParts.join('.')}\n`))
      }
      this.#push(frame.body)
    }
    // Never between an id and its event, nor between `ready` and the state: a long poll reads whole frames.
    if (this.#pendingBytes > budgets.turn) this.flush()
  }

  /** Must be called within `inTurn`, so that one chat at a time waits for the client. */
  writeAndDrain (index: number, frames: readonly ChatFrame[]): Promise<unknown> {
    this.write(index, frames)
    return this.#connection.writeAndDrain(this.#takePending())
  }

  /** Runs `work` after the earlier work of other chats. `work` must not reject. */
  inTurn<T> (work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work)
    this.#turn = result
    return result
  }

  flush (): void {
    this.#connection.write(this.#takePending())
  }

  #push (bytes: Buffer): void {
    this.#pending.push(bytes)
    this.#pendingBytes += bytes.length
  }

  #takePending (): Buffer {
    const pending = Buffer.concat(this.#pending)
    this.#pending = []
    this.#pendingBytes = 0
    return pending
  }
}

/** The sink of one chat: its room writes to it as to a connection. */
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

  write (_bytes: Bytes, frames: readonly ChatFrame[]): void {
    this.#parent.write(this.#index, frames)
  }

  writeAndDrain (_bytes: Bytes, frames: readonly ChatFrame[]): Promise<unknown> {
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
