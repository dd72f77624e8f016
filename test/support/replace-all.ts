/**
 * Replaces several texts in one pass, so that a replacement is never replaced again. Throws if one of them is missing.
 */
export function replaceAll (text: string, changes: Record<string, string>): string {
  const missing = Object.keys(changes).find((from) => !text.includes(from))
  if (missing !== undefined) throw new Error(`There is no '${missing}' to replace`)
  const any = new RegExp(Object.keys(changes).map(escape).join('|'), 'g')
  return text.replace(any, (from) => changes[from] as string) // It matches nothing else.
}

function escape (text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
}
