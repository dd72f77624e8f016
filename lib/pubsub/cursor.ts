/** A place in the log of a channel: between the event that it names and the next. */
export interface Cursor {
  /** Which log. A new one starts when Redis has lost the old one. */
  epoch: string
  /** How many events came before, counted from 1; 0 before the first. */
  offset: number
  /** A random number of the event. After a failover, offsets are used again for other events: the tag tells them apart. */
  tag: number
}

/** A place of its own, where another one may move on. */
export function copyCursor ({ epoch, offset, tag }: Cursor): Cursor {
  return { epoch, offset, tag }
}

/** The place before an event, which knows the tag of the one before it. */
export function positionBefore ({ epoch, offset, previousTag }: { epoch: string, offset: number, previousTag: number }): Cursor {
  return { epoch, offset: offset - 1, tag: previousTag }
}

const FORM = /^([A-Za-z0-9]{1,32})-(\d{1,15})-(\d{1,15})$/

export function formatCursor ({ epoch, offset, tag }: Cursor): string {
  return `${epoch}-${offset}-${tag}`
}

/** Reads what `formatCursor` wrote; `undefined` for anything else. */
export function parseCursor (id: string): Cursor | undefined {
  const [, epoch, offset, tag] = FORM.exec(id) ?? []
  return epoch === undefined ? undefined : { epoch, offset: Number(offset), tag: Number(tag) }
}

export function sameCursor (one: Cursor, other: Cursor): boolean {
  return one.offset === other.offset && one.tag === other.tag && one.epoch === other.epoch
}
