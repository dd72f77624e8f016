/** How much may be kept, held or read at once, in bytes. docs/performance.md says what they come to. */
export const budgets = {
  /** The events of one page that is read of a log. */
  page: 262_144,
  /** The first page after a position: mostly there is little behind it, and all chats may ask at the same time. */
  firstPage: 16_384,
  /** A page for clients that reconnect. The chats of one stream take turns by it. */
  clientPage: 65_536,
  /** The pages that an instance asks for at the same time. Redis keeps as much ready for it. */
  reads: 1_048_576,
  /** What a chat holds while its log or its state is read; of more, it is read again. */
  held: 262_144,
  /** The last events and frames of a chat, for clients that come back soon, and those of all chats of an instance. */
  replay: 1_048_576,
  replays: 67_108_864,
  /** What a chat, or a stream of several, gathers in one turn before it writes. */
  turn: 1_048_576,
  /** What is published and not answered by Redis yet. Beyond it, a publish is rejected at once. */
  unanswered: 67_108_864,
  /** The events that `LocalPubSub` keeps of all chats. Beyond it, each chat loses its oldest ones. */
  localLogs: 268_435_456
} as const
