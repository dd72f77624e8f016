/**
 * - `ok`: nothing to do.
 * - `unknown`: the Redis user may not look at it.
 * - `warning`: it works, but something can go wrong one day.
 * - `failure`: something does not work, or a guarantee does not hold.
 */
export type Level = 'ok' | 'unknown' | 'warning' | 'failure'

/** What a check has seen. Never contains a password. */
export interface Sight {
  level: Level
  found: string
  /** The setting that mends exactly this, if the one of the check is too general. */
  fix?: string
}

/** One line of the report. */
export interface Finding extends Sight {
  check: string
  /** The address of a server, if the finding concerns only one. */
  server?: string
  /** What it means for chats. Absent if all is well. */
  meaning?: string
}

/** Something that the doctor looks at, in one server or in all of them together. */
export interface Check<Subject> {
  name: string
  /** What it means for chats if it is not well. */
  meaning: string
  /** The setting that mends it. */
  fix: string
  look (subject: Subject): Promise<Sight>
}

/** Returns what was found. What it means and the fix are left out if all is well. */
export function findingOf<Subject> (
  { name, meaning, fix }: Check<Subject>, sight: Sight, server?: string
): Finding {
  const { level, found } = sight
  const common = { check: name, ...server !== undefined && { server }, level, found }
  return level === 'ok' ? common : { ...common, meaning, fix: sight.fix ?? fix }
}

export const ok = (found: string): Sight => ({ level: 'ok', found })
export const warning = (found: string): Sight => ({ level: 'warning', found })
export const failure = (found: string, fix?: string): Sight =>
  ({ level: 'failure', found, ...fix !== undefined && { fix } })
