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
 * Parses an event stream as the HTML standard defines it. Returns a function that reads the next piece of its text,
 * which may be cut anywhere. The cost per character is constant, however large an event is. The function returns
 * whether the stream can go on: false after an event of more than 16 million characters.
 */
export function parseFrames (
  onFrame: (frame: Frame) => void, onRetry: (retryMs: number) => void
): (text: string) => boolean {
  // What has arrived of the line that has not ended yet. To append to a string copies nothing, however long it is.
  let line = ''
  // The data has a line break after each line.
  let frame: Frame = { data: '' }
  let endsWithCR = false

  const endLine = (): void => {
    const [, name, value] = /^([^:]*):? ?(.*)/s.exec(line) as unknown as [string, string, string] // Matches any line.
    if (name === 'data') frame.data += `${value}\n`
    if (name === 'event' || (name === 'id' && !value.includes('\0'))) frame[name] = value
    if (name === 'retry' && /^\d+$/.test(value)) onRetry(Number(value))
    if (line) return
    const { data } = frame
    if (data) onFrame({ ...frame, data: data.slice(0, -1) })
    frame = { data: '' }
  }

  return (text) => {
    if (text) {
      // A line break may be cut, too.
      const [first, ...others] = (endsWithCR ? text.replace(/^\n/, '') : text).replace(/\r\n?/g, '\n').split('\n')
      line += first as string
      for (const next of others) {
        endLine()
        line = next
      }
      endsWithCR = text.endsWith('\r')
    }
    return frame.data.length + line.length <= MAX_CHARACTERS
  }
}
