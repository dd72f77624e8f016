import type { RealtimeErrorCode, RealtimeError } from '../errors.ts'

/** The access of a request to one of its chats. */
export interface ChatAccess {
  readonly chatId: string
  readonly userId: string | undefined
  /** The error code if access is refused. */
  readonly refused: RealtimeErrorCode | undefined
  /** Refuses access. Does nothing if it was refused before. */
  refuse (error: RealtimeError): void
}

/** A stream that is about to join a chat. */
export interface Entrance {
  readonly stream: { readonly closed: boolean, end (): Promise<void>, onClose (callback: () => void): () => void }
  /** Joins the chat, or leaves it if the stream has closed. */
  join (): void
  /** Ends the stream after the given milliseconds, unless it ends earlier. */
  endAfter (ms: number): void
}

/** The position at which a client asks a chat stream to start. */
export interface StreamRequest {
  /** The last event that the client has. */
  lastEventId?: string | undefined
  /** For each chat, the number of past events that the client wants. */
  rewinds?: readonly number[] | undefined
}
