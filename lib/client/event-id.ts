/**
 * Expands one part of a multi-chat event id into an event id. A part that is not in the compact form stays as it is.
 */
export function expandPart (part: string): string {
  if (!/^[\w~]{19}\d+$/.test(part)) return part
  const hex = Array.from(
    atob(part.slice(0, 19).replace(/~/g, '+').replace(/_/g, '/')),
    (char) => char.charCodeAt(0).toString(16).padStart(2, '0')
  ).join('')
  return `${hex.slice(0, 16)}-${part.slice(19)}-${parseInt(hex.slice(16), 16)}`
}

/** Whether the position `id` is at or before the position `other` of the same epoch. */
export function isAtOrBefore (id: string, other = ''): boolean {
  const [epoch, offset] = id.split('-')
  const [otherEpoch, otherOffset] = other.split('-')
  return epoch === otherEpoch && Number(offset) <= Number(otherOffset)
}
