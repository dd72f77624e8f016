import { attempt } from './attempt.ts'
import { kindOf } from './errors.ts'
import type { Logger } from './logger.ts'

const reported = new WeakSet<object>()

/** No chat, channel or type has a longer name. */
const LONGEST_NAME = 4_096

/**
 * Publishes, and logs the failure, once however many layers hand the promise on. Nothing is thrown, and whoever ignores the promise causes no
 * `unhandledRejection` by that; whoever awaits it still gets the rejection.
 */
export function reportFailure<T> (publish: () => Promise<T>, log: Logger, context: object): Promise<T> {
  const published = attempt(publish)
  published.then(undefined, (error: unknown) => logFailure(error, log, context))
  return published
}

/** Logs the failure of a publish, unless it was logged before. Never throws. */
export function logFailure (error: unknown, log: Logger, context: object): void {
  if (error instanceof Object) {
    if (reported.has(error)) return
    reported.add(error)
  }
  try {
    log.warn({ ...namesOf(context), code: codeOf(error) }, 'Publishing failed')
  } catch {
    // The app's logger throws: there is nobody left to tell.
  }
}

/** Without what is no name: who has forgotten the chat's id has put the payload in its place. */
function namesOf (context: object): object {
  return Object.fromEntries(Object.entries(context).filter(([, name]) => typeof name === 'string' && name.length <= LONGEST_NAME))
}

/** A code says enough; the message of a foreign provider's error may quote the payload. */
function codeOf (error: unknown): string | number {
  const { code } = Object(error) as { code?: unknown }
  if (typeof code === 'string' || typeof code === 'number') return code
  return error instanceof Error ? error.name : kindOf(error)
}
