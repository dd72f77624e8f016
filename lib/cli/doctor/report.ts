import type { Finding, Level } from './findings.ts'

/** What `doctor --json` prints. */
export interface Report {
  /** The address, without a password. */
  redis: string
  /** Whether there is no failure. */
  healthy: boolean
  findings: Finding[]
}

const marks: Readonly<Record<Level, string>> = { ok: 'ok', unknown: '??', warning: 'WARN', failure: 'FAIL' }

/** Returns the report for a person. */
export function formatReport ({ redis, findings }: Report): string {
  const count = (level: Level): number => findings.filter((finding) => finding.level === level).length
  return [
    redis,
    ...findings.map(formatFinding),
    `failures: ${count('failure')}, warnings: ${count('warning')}, not looked at: ${count('unknown')}`,
    ''
  ].join('\n')
}

function formatFinding ({ check, server, level, found, meaning, fix }: Finding): string {
  const subject = server === undefined ? check : `${check} of ${server}`
  const lines = [`${marks[level].padEnd(4)} ${subject}: ${found}`]
  if (meaning !== undefined) lines.push(`     ${meaning}`)
  if (fix !== undefined) lines.push(`     -> ${fix}`)
  return lines.join('\n')
}
