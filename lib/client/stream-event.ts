/** A frame of a stream for one chat: an event, or the chat's current position. */
export interface StreamEvent {
  chatId: string
  /** `ready`, `reset`, or the type of an event. */
  event: string
  /** Absent if it could not be parsed. */
  data?: Record<string, unknown> | undefined
  /** The event id: the position in the chat's log after it. Absent for ephemeral events, and if there is no log. */
  id?: string | undefined
  /** The position before it: a client at this position has missed no events. */
  previous?: string | undefined
}

/** The position at which a chat starts on a stream. */
export interface StartPosition {
  id?: string | undefined
  /** How many of the latest events to replay if there is no id. */
  rewind?: number | undefined
}

/** A chat on a connection, at its current position. */
export interface ChatSubscription extends StartPosition {
  /** Whether the server has sent the start position (`ready`). */
  ready?: boolean
}

/** The chats of one request, in the order of their parts in the event id. */
export type ChatSubscriptions = [chatId: string, subscription: ChatSubscription][]

/** A frame without an event, which reports the current position of a chat. */
export function marker (chatId: string, id: string | undefined): StreamEvent {
  return { chatId, event: 'ready', id, previous: id }
}

/** Reports that events may be missing, since the server keeps no history, or kept none before the position `id`. */
export function lossOf (chatId: string, id?: string): StreamEvent {
  return { chatId, event: 'reset', id, data: { reason: 'no-history' } }
}
