/**
 * Returns the UTF-8 length of a text in bytes if it exceeds `maxBytes`, otherwise `undefined`. Short texts are not
 * measured, since one UTF-16 unit takes at most three bytes.
 */
export function bytesOver (text: string, maxBytes: number): number | undefined {
  if (text.length * 3 <= maxBytes) return undefined
  const bytes = Buffer.byteLength(text)
  return bytes > maxBytes ? bytes : undefined
}
