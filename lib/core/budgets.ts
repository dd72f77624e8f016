/** Limits for buffers, reads and stored events, in bytes. docs/performance.md explains their total. */
export const budgets = {
  /** The events in one page of a log. */
  page: 262_144,
  /** The first page after a position. It is small because few events usually follow, and all chats may read at once. */
  firstPage: 16_384,
  /** A page for reconnecting clients. The chats of one stream take turns, one page each. */
  clientPage: 65_536,
  /**
   * All pages that an instance requests at the same time: for its chats, for bot messages, and for the history. Redis
   * buffers that many bytes for each of the three.
   */
  reads: 1_048_576,
  /** The events that a chat buffers while its log or state is read. Beyond it, the chat reads again. */
  held: 262_144,
  /** The JSON of an event with content of a bot message. Only a single chunk may take more. */
  piece: 262_144,
  /**
   * The content of a draft that an instance keeps whole, and sends to a new reader at once. `LocalPubSub` keeps longer
   * ones in blocks of this size.
   */
  draft: 65_536,
  /** The content of all drafts in one reply that reads a state. */
  drafts: 262_144,
  /** The latest events of a chat, for clients that reconnect soon. Their encoded frames may take as much again. */
  replay: 1_048_576,
  /** The same for all chats of an instance. */
  replays: 67_108_864,
  /** The frames that a chat or a multi-chat stream collects in one turn of the event loop, to write them at once. */
  turn: 1_048_576,
  /** Publishes that Redis has not acknowledged yet. Beyond it, a publish is rejected immediately. */
  unanswered: 67_108_864,
  /** The events and drafts that `LocalPubSub` keeps for all chats. Beyond it, chats drop events and ended drafts. */
  localLogs: 268_435_456
} as const
