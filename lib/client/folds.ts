import type { BotMessage, BotMessagePiece, Presence, Typing } from '../event-types.ts'

// Each returns the new state and leaves the old one as it is, so that a front end can compare them.

/**
 * Applies a piece of a bot message, or its end, to the message so far. Use it with `onBotMessage`, whose pieces have no
 * gaps.
 */
export function foldBotMessage (message: BotMessage | undefined, piece: BotMessagePiece): BotMessage {
  const { id, status, at, text, chunks, extra, error, meta = message?.meta } = piece
  return {
    id,
    status,
    ...meta && { meta },
    ...extra && { extra },
    ...error !== undefined && { error },
    ...chunks === undefined
      ? { text: (message?.text ?? '').slice(0, at) + text }
      : { chunks: [...(message?.chunks ?? []).slice(0, at), ...chunks] }
  }
}

/** Applies a `presence` event to the sorted ids of the users who are present. */
export function foldPresence (
  users: readonly string[] | undefined, event: Presence
): string[] {
  const present = new Set([...event.users ?? users ?? [], ...event.joined ?? []])
  for (const user of event.left ?? []) present.delete(user)
  return [...present].sort()
}

/** A user who is typing. */
export interface TypingUser {
  user: string
  /** When the indicator expires, in milliseconds since 1970. */
  until: number
}

/**
 * Applies a `typing` event to the users who are typing, in the order in which they began. Removes those whose indicator
 * has expired; without an event, it only does that. `now` is in milliseconds since 1970.
 */
export function foldTyping (
  typing: readonly TypingUser[] | undefined, event?: Typing, now: number = Date.now()
): TypingUser[] {
  const all = new Map(typing?.map((each) => [each.user, each]))
  if (event) all.set(event.user, { user: event.user, until: now + event.expiresInMs })
  return [...all.values()].filter(({ until }) => until > now)
}
