/** What a stream says of a chat: an event, or where the chat is. */
export interface StreamEvent {
  chatId: string
  /** `ready`, `reset`, or the type of an event. */
  event: string
  /** Absent where it could not be read. */
  data?: Record<string, unknown> | undefined
  /** The place in the chat's log behind it. Absent for ephemeral events, and where there is no log. */
  id?: string | undefined
  /** The place before it: who is there has missed nothing. */
  previous?: string | undefined
  /** Whether a connection has begun at a server that keeps no history: what came before it is lost. */
  noHistory?: boolean
}

/** Where a chat starts on a stream. */
export interface StartPosition {
  id?: string | undefined
  /** How many of the last events it wants where it has no id. */
  rewind?: number | undefined
}

/** Tells who is at a place. */
export function marker (chatId: string, id: string | undefined): StreamEvent {
  return { chatId, event: 'ready', id, previous: id }
}
