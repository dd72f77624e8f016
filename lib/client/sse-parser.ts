/** A frame of an event stream. */
export interface Frame {
  /** The event type. Absent for the default type, `message`. */
  event?: string | undefined
  id?: string | undefined
  data: string
}

/** Limits the memory that an event without an end can take. */
const MAX_CHARACTERS = 16 * 2 ** 20

/**
 * Parses an event stream as the HTML standard defines it. The text may arrive in pieces that are cut anywhere. The cost
 * per character is constant, however large an event is. The returned function takes the next piece and returns whether
 * the stream can go on: `false` after an event of more than 16 million characters.
 */
export function frameReader (
  onFrame: (frame: Frame) => void, onRetry: (retryMs: number) => void
): (text: string) => boolean {
  /** The pieces of the line that has not ended yet. */
  let pieces: string[] = []
  let fields: Omit<Frame, 'data'> = {}
  let data: string[] = []
  /** How many characters are kept: `size` of the data, `lineSize` of the line that has not ended. */
  let size = 0
  let lineSize = 0
  let endsWithCR = false
  const take = (name: string, value: string): void => {
    if (name === 'data') {
      size += value.length + 1
      data.push(value)
    }
    if (name === 'event' || (name === 'id' && !value.includes('\0'))) fields[name] = value
    if (name === 'retry' && /^\d+$/.test(value)) onRetry(Number(value))
  }
  const endLine = (line: string): void => {
    const [, name, value] = /^([^:]*):? ?(.*)/s.exec(line) as unknown as [string, string, string]
    take(name, value)
    if (line !== '') return
    const frame = { ...fields, data: data.join('\n') }
    const isEvent = data.length > 0
    fields = {}
    data = []
    size = 0
    if (isEvent) onFrame(frame)
  }
  return (text) => {
    if (text === '') return true
    const lineBreak = /\r\n?|\n/g
    // The previous piece may have ended between `\r` and `\n`.
    let at = endsWithCR && text.startsWith('\n') ? 1 : 0
    lineBreak.lastIndex = at
    for (let found = lineBreak.exec(text); found !== null; found = lineBreak.exec(text)) {
      const line = [...pieces, text.slice(at, found.index)].join('')
      at = lineBreak.lastIndex
      pieces = []
      lineSize = 0
      endLine(line)
    }
    endsWithCR = text.endsWith('\r')
    pieces.push(text.slice(at))
    lineSize += text.length - at
    return size + lineSize <= MAX_CHARACTERS
  }
}
