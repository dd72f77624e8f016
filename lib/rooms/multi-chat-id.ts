import { formatCursor, parseCursor, type Cursor } from '../pubsub/cursor.ts'

// The event id of a multi-chat stream has one part per chat, in order, joined by dots. An empty part means that there
// is no position yet. Since each event carries all parts, a part is compact if possible. Otherwise it has the form of a
// single-chat id; only that form contains a dash.

/**
 * Replaces an invalid part that a client has sent. An empty part would hide the loss: it means that the client has no
 * position and so has missed nothing.
 */
const INVALID = '!'

/** A compact part is an epoch of 8 bytes and a tag of 6 bytes, in 19 characters of base64url, and the offset. */
const COMPACT_EPOCH = /^[0-9a-f]{16}$/
const TAG_LIMIT = 2 ** 48
const COMPACT_LENGTH = 19

const COMPACT = /^[\w~]{19}\d{1,15}$/

export function formatPart (cursor: Cursor | 'invalid' | undefined): string {
  if (cursor === undefined) return ''
  if (cursor === 'invalid') return INVALID
  const { epoch, offset, tag } = cursor
  if (!COMPACT_EPOCH.test(epoch) || tag >= TAG_LIMIT) return formatCursor(cursor)
  const bytes = Buffer.alloc(14)
  bytes.write(epoch, 'hex')
  bytes.writeUIntBE(tag, 8, 6)
  return `${bytes.toString('base64url').replaceAll('-', '~')}${offset}`
}

/** Parses a part written by `formatPart`, or the id of a single-chat stream. Anything else is `invalid`. */
export function parsePart (part: string): Cursor | 'invalid' | undefined {
  if (part === '') return undefined
  if (!COMPACT.test(part)) return parseCursor(part) ?? 'invalid'
  const bytes = Buffer.from(part.slice(0, COMPACT_LENGTH).replaceAll('~', '-'), 'base64url')
  return { epoch: bytes.toString('hex', 0, 8), offset: Number(part.slice(COMPACT_LENGTH)), tag: bytes.readUIntBE(8, 6) }
}

/**
 * Parses the positions of `count` chats. If the id has more or fewer parts, all are `invalid`, since the parts can't
 * be matched to chats.
 */
export function parseMultiChatId (id: string, count: number): (Cursor | 'invalid' | undefined)[] {
  // Splits off at most one part too many, which shows that the id does not match: a client may send a very long id.
  const parts = id.split('.', count + 1)
  return Array.from(
    { length: count }, (_, index) => parts.length === count ? parsePart(parts[index] as string) : 'invalid'
  )
}
