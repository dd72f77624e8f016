import type { Bytes } from '../sse/frame.ts'
import type { ChatFrame } from './frames.ts'

/** The target that a room writes to: a connection, or one chat's part of a connection that carries several chats. */
export interface EventSink {
  /** True once nothing can be written any more. */
  readonly closed: boolean
  /** The user of the stream, if known. */
  readonly userId: string | undefined
  /**
   * True if other chats of the same connection have filled its buffer. What can wait should then be written with
   * `writeAndDrain`.
   */
  readonly crowded: boolean
  /**
   * Writes frames, unless the sink is closed. `bytes` is all of them: a connection writes it as it is, while a chat of
   * a multi-chat stream gives each frame another id. Never throws. A client that is too slow is disconnected.
   */
  write (bytes: Bytes, frames: readonly ChatFrame[]): unknown
  /** Writes as `write` does. Resolves once the bytes are sent or the client has disconnected. Never rejects. */
  writeAndDrain (bytes: Bytes, frames: readonly ChatFrame[]): Promise<unknown>
  /** Runs `work`, which must not reject, after the work of other chats of the same connection has settled. */
  inTurn<T> (work: () => Promise<T>): Promise<T>
  /** Calls `callback` once the sink is closed by either side. Returns a function that removes the callback. */
  onClose (callback: () => void): () => void
  /** Ends the stream. Its client reconnects and is authorized again. */
  end (): Promise<void>
}
