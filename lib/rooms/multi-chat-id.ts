import { formatCursor, parseCursor, type Cursor } from '../pubsub/cursor.ts'

// The id of a stream of several chats: a part for each of them, in their order, joined by dots. An empty part is no place yet. A part has a
// compact form where it can, since each event carries all of them, and the form of an id of one chat where it can't: only that has a dash.

/** A part that is no place: what stands where a client has sent one. It must not turn into no place yet, which nothing can be missed after. */
const INVALID = '!'

/** 16 hex digits are 8 bytes, and the tag takes 6. */
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

/** Reads what `formatPart` wrote, and the id of a stream of one chat; anything else is invalid. */
export function parsePart (part: string): Cursor | 'invalid' | undefined {
  if (part === '') return undefined
  if (!COMPACT.test(part)) return parseCursor(part) ?? 'invalid'
  const bytes = Buffer.from(part.slice(0, COMPACT_LENGTH).replaceAll('~', '-'), 'base64url')
  return { epoch: bytes.toString('hex', 0, 8), offset: Number(part.slice(COMPACT_LENGTH)), tag: bytes.readUIntBE(8, 6) }
}

/** Reads the places of `count` chats. Of an id that has parts for more or less of them, it can't be told which is whose. */
export function parseMultiChatId (id: string, count: number): (Cursor | 'invalid' | undefined)[] {
  const parts = id.split('.', count + 1)
  return Array.from({ length: count }, (_, index) => parts.length === count ? parsePart(parts[index] as string) : 'invalid')
}
