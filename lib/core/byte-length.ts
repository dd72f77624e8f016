/** How many bytes of UTF-8 a text takes, if they are more than `most`. One that is short is not counted: a character takes three at most. */
export function bytesOver (text: string, most: number): number | undefined {
  if (text.length * 3 <= most) return undefined
  const bytes = Buffer.byteLength(text)
  return bytes > most ? bytes : undefined
}
