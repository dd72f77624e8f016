import type { RealtimeErrorCode, RealtimeError } from '../errors.ts'

/** Whether a request may open one of its chats. */
export interface ChatAccess {
  readonly chatId: string
  readonly userId: string | undefined
  /** Why it may not, if so. */
  readonly refused: RealtimeErrorCode | undefined
  /** Refuses it, unless it was refused before. */
  refuse (error: RealtimeError): void
}

/** A stream that is about to join a chat. */
export interface Entrance {
  readonly stream: { readonly closed: boolean, end (): Promise<void>, onClose (callback: () => void): () => void }
  /** Joins the chat, or leaves it where the stream has closed. */
  join (): void
  /** Ends the stream after so many milliseconds, if it does not end before. */
  endAfter (ms: number): void
}

/** Where a client asks a chat stream to start. */
export interface StreamRequest {
  /** The last event that it has. */
  lastEventId?: string | undefined
  /** How many of the last events it wants of each chat. */
  rewinds?: readonly number[] | undefined
}
