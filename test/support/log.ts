import { pino } from 'pino'
import type { Logger } from '../../lib/index.ts'

export type LogLine = Record<string, unknown> & { level: number, msg: string }

export interface KeptLog { log: Logger, lines: LogLine[], text: () => string, line: (msg: string) => Promise<LogLine> }

/** Returns a pino logger that keeps its lines. `line` resolves with the first line that has a message. */
export function keepLog (level = 'debug'): KeptLog {
  const lines: LogLine[] = []
  const waiting = new Set<() => void>()
  const write = (text: string): void => {
    lines.push(JSON.parse(text))
    for (const check of waiting) check()
  }
  const line = (msg: string): Promise<LogLine> => new Promise((resolve) => {
    const check = (): void => {
      const found = lines.find((line) => line.msg === msg)
      if (found === undefined) return
      waiting.delete(check)
      resolve(found)
    }
    waiting.add(check)
    check()
  })
  return { log: pino({ level }, { write }), lines, text: () => JSON.stringify(lines), line }
}

/** A sink for a logger of an app's own. */
export function keepLines (): { lines: string[], write: (line: string) => void } {
  const lines: string[] = []
  return { lines, write: (line) => { lines.push(line) } }
}
