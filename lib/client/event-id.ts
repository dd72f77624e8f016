/**
 * Expands one part of a multi-chat event id into an event id. A part that is not in the compact form stays as it is.
 */
export function expandPart (part: string): string {
  return part.replace(/^([\w~]{19})(\d+)$/, (_part, packed: string, offset: string) => {
    const hex = atob(packed.replace(/~/g, '+').replace(/_/g, '/'))
      .replace(/[^]/g, (char) => (256 + char.charCodeAt(0)).toString(16).slice(1))
    return `${hex.slice(0, 16)}-${offset}-${Number(`0x${hex.slice(16)}`)}`
  })
}

/** The epoch of a position. */
export function epochOf (id = ''): string | undefined {
  return id.split('-')[0]
}

/**
 * Whether the position `id` is the position `other`, or before it in the same epoch. After a failover, the offsets
 * alone do not prove it.
 */
export function isAtOrBefore (id: string, other = ''): boolean {
  return id === other || (epochOf(id) === epochOf(other) && Number(id.split('-')[1]) < Number(other.split('-')[1]))
}
