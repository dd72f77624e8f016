import { randomBytes } from 'node:crypto'

/** A position in the log of a channel: after the event that it names and before the next one. */
export interface Cursor {
  /** Identifies the log. A new log, with a new epoch, starts when Redis has lost the old one. */
  epoch: string
  /** The offset of the event, counted from 1; 0 before the first event. */
  offset: number
  /** A random number of the event. After a failover, other events may get the same offsets: the tags differ. */
  tag: number
}

/** Returns only the cursor of a position, as a copy that does not change when the original is updated in place. */
export function copyCursor ({ epoch, offset, tag }: Cursor): Cursor {
  return { epoch, offset, tag }
}

/** Returns the position before an event. */
export function positionBefore (
  { epoch, offset, previousTag }: { epoch: string, offset: number, previousTag: number }
): Cursor {
  return { epoch, offset: offset - 1, tag: previousTag }
}

const CURSOR = /^([A-Za-z0-9]{1,32})-(\d{1,15})-(\d{1,15})$/

export function formatCursor ({ epoch, offset, tag }: Cursor): string {
  return `${epoch}-${offset}-${tag}`
}

/** Parses the output of `formatCursor`; returns `undefined` for any other text. */
export function parseCursor (id: string): Cursor | undefined {
  const [, epoch, offset, tag] = CURSOR.exec(id) ?? []
  return epoch === undefined ? undefined : { epoch, offset: Number(offset), tag: Number(tag) }
}

export function sameCursor (one: Cursor, other: Cursor): boolean {
  return one.offset === other.offset && one.tag === other.tag && one.epoch === other.epoch
}

const boot = randomBytes(5).toString('hex')
let count = 0

/**
 * Makes a unique name for a new log: 16 hexadecimal digits. The first ten are random for each process, the rest count
 * the calls.
 */
export function newEpoch (): string {
  count = (count + 1) % 2 ** 24
  return boot + count.toString(16).padStart(6, '0')
}

/**
 * Returns a random number of 47 bits, which has at most 15 decimal digits, so that both JavaScript and Lua represent
 * it exactly. It only has to be distinct, not secret.
 */
export function randomTag (): number {
  return 1 + Math.floor(Math.random() * (2 ** 47 - 1))
}
