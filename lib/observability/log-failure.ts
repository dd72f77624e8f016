import { promiseTry } from '../core/promise-try.ts'
import { RealtimeError, kindOf, type RealtimeErrorCode } from '../errors.ts'
import type { Logger } from '../core/logger.ts'
import { logRecovered, logRepeated, type RecoverableFailure, type RepeatedFailure } from './repeated-failure.ts'

const reported = new WeakSet<object>()

/** No chat, channel or type has a longer name. */
const LONGEST_NAME = 4_096

/**
 * Publishes, and logs the failure, once however many layers hand the promise on. Nothing is thrown, and whoever ignores the promise causes no
 * `unhandledRejection` by that; whoever awaits it still gets the rejection.
 */
export function reportFailure<T> (publish: () => Promise<T>, log: Logger, context: object): Promise<T> {
  const published = promiseTry(publish)
  published.then(undefined, (error: unknown) => logFailure(error, log, context))
  return published
}

const PUBLISHING: RecoverableFailure = {
  level: 'warn', message: 'Publishing failed', recovered: 'Publishing works again'
}

/** What other publishes fail with as well. */
const OUTAGES: ReadonlySet<string | number> = new Set<RealtimeErrorCode>(['RT_PUBLISH_REJECTED', 'RT_PUBLISH_UNKNOWN'])

/** That one event is wrong says nothing of the next one, and the other way round. */
const WRONG_EVENT: RepeatedFailure = { level: 'warn', message: 'Publishing failed' }

/** Logs the failure of a publish, unless it was logged before. Never throws. */
export function logFailure (error: unknown, log: Logger, context: object): void {
  if (error instanceof Object) {
    if (reported.has(error)) return
    reported.add(error)
  }
  const code = codeOf(error)
  // Its message holds the fix, and no payload.
  const reason = error instanceof RealtimeError ? { reason: error.message } : {}
  const failure = OUTAGES.has(code) ? PUBLISHING : WRONG_EVENT
  logRepeated(log, failure, { ...namesOf(context), code, ...reason }, code)
}

/** Logs that publishing works again, if it has failed. Never throws. */
export function logPublished (log: Logger): void {
  logRecovered(log, PUBLISHING)
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
