import type { ChatFrame } from './frames.ts'

/** What a room writes to: a connection, or the seat of its chat on a connection for several. */
export interface EventSink {
  /** Whether nothing can be written any more. */
  readonly closed: boolean
  /** Whose it is, where that is known. */
  readonly userId: string | undefined
  /** Whether others have filled it, so that what can wait shall be written with `writeAndDrain`. */
  readonly crowded: boolean
  /** Writes frames, whose bytes are `chunk`, unless it is closed. Never throws; a client that doesn't keep up is cut. */
  write (chunk: Buffer, frames: readonly ChatFrame[]): unknown
  /** Writes as `write` does. Resolves once the client has taken it, or is gone. Never rejects. */
  writeAndDrain (chunk: Buffer, frames: readonly ChatFrame[]): Promise<unknown>
  /** Does something while no other chat of the same connection does. */
  inTurn<T> (work: () => Promise<T>): Promise<T>
  /** Calls back once it is closed, by whoever. Returns its undo. */
  onClose (callback: () => void): () => void
  /** Ends it: its client comes back, and is asked for its access again. */
  end (): Promise<void>
}
