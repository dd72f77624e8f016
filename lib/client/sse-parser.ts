/** A frame of an event stream. */
export interface Frame {
  /** Its type, where it is not `message`. */
  event?: string | undefined
  id?: string | undefined
  data: string
}

/** An event that never ends would fill the memory. */
const MOST_CHARACTERS = 16 * 2 ** 20

/**
 * Reads an event stream, as the HTML standard says: text that comes in pieces, however they are cut. Each character is looked at a fixed number
 * of times, however large an event is. Returns whether it can go on: not after an event of more than 16 million characters.
 */
export function frameReader (onFrame: (frame: Frame) => void, onRetry: (retryMs: number) => void): (text: string) => boolean {
  /** The line that has not ended yet, as it came. */
  let pieces: string[] = []
  let fields: Omit<Frame, 'data'> = {}
  let data: string[] = []
  /** How many characters are kept: of the data, and of the line that has not ended. */
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
    // A line break may be cut in two.
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
    return size + lineSize <= MOST_CHARACTERS
  }
}
