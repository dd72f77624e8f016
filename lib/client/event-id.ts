/** Reads a part of the id of a stream of several chats: in its compact form, or as a stream of one chat has it. */
export function idOf (part: string): string {
  if (!/^[\w~]{19}\d+$/.test(part)) return part
  const bytes = Array.from(atob(part.slice(0, 19).replace(/~/g, '+').replace(/_/g, '/')), (char) => char.charCodeAt(0))
  const epoch = bytes.slice(0, 8).map((byte) => byte.toString(16).padStart(2, '0')).join('')
  return `${epoch}-${part.slice(19)}-${bytes.slice(8).reduce((tag, byte) => tag * 256 + byte, 0)}`
}

/** Whether a place of the same log is not beyond another. */
export function isPast (id: string, other = ''): boolean {
  const [epoch, offset] = id.split('-')
  const [otherEpoch, otherOffset] = other.split('-')
  return epoch === otherEpoch && Number(offset) <= Number(otherOffset)
}
