/** A frame of an event stream. */
export interface Frame {
  /** Its type, where it is not `message`. */
  event?: string | undefined
  id?: string | undefined
  data: string
}

/** Reads an event stream, as the HTML standard says: text that comes in pieces, however they are cut. */
export function frameReader (onFrame: (frame: Frame) => void, onRetry: (retryMs: number) => void): (text: string) => void {
  let rest = ''
  let fields: Partial<Frame> = {}
  const take = (name: string, value: string): void => {
    if (name === 'data') fields.data = fields.data === undefined ? value : `${fields.data}\n${value}`
    if (name === 'event' || (name === 'id' && !value.includes('\0'))) fields[name] = value
    if (name === 'retry' && /^\d+$/.test(value)) onRetry(Number(value))
  }
  return (text) => {
    // A CR at the end may be half of a line break.
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/)
    rest = lines.pop() as string
    for (const line of lines) {
      const [, name, value] = /^([^:]*):? ?(.*)/s.exec(line) as unknown as [string, string, string]
      take(name, value)
      if (line !== '') continue
      const frame = fields
      fields = {}
      if (frame.data !== undefined) onFrame(frame as Frame)
    }
  }
}
