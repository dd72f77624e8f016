import { promiseTry } from '../core/promise-try.ts'
import { RealtimeError, kindOf, type RealtimeErrorCode } from '../errors.ts'
import type { Logger } from '../core/logger.ts'
import { logRepeated, type RecoverableFailure, type RepeatedFailure } from './repeated-failure.ts'

/** The errors that were logged already. */
const logged = new WeakSet<object>()

/** Maximum length of a valid name of a chat, channel or event type. */
const MAX_NAME_LENGTH = 4_096

/**
 * Calls `publish` and returns its promise. A failure is logged, only once even if several layers report the same error.
 * Never throws. A rejection reaches a caller that awaits the promise; if the promise is ignored, it causes no
 * `unhandledRejection`.
 */
export function reportFailure<T> (publish: () => Promise<T>, log: Logger, context: object): Promise<T> {
  const published = promiseTry(publish)
  published.then(undefined, (error: unknown) => logFailure(error, log, context))
  return published
}

/** Returns a rejection that is logged, and causes no `unhandledRejection`. */
export function reportRejection (error: unknown, log: Logger, context: object): Promise<never> {
  return reportFailure(() => Promise.reject(error), log, context)
}

/** The failure of publishing as such. The next publish that succeeds ends it. */
export const PUBLISHING: RecoverableFailure = {
  level: 'warn', message: 'Publishing failed', recovered: 'Publishing works again'
}

/** Codes of failures that affect all publishes. */
const OUTAGES: ReadonlySet<string | number> = new Set<RealtimeErrorCode>(['RT_PUBLISH_REJECTED', 'RT_PUBLISH_UNKNOWN'])

/** Any other failure. It concerns one event and says nothing about the next one, so it has no recovery. */
const REFUSED_EVENT: RepeatedFailure = { level: 'warn', message: 'Publishing failed' }

/** Logs the failure of a publish, unless it was logged before. Never throws. */
export function logFailure (error: unknown, log: Logger, context: object): void {
  if (error instanceof Object) {
    if (logged.has(error)) return
    logged.add(error)
  }
  const code = codeOf(error)
  // The message of a RealtimeError contains the fix and no payload.
  const reason = error instanceof RealtimeError ? { reason: error.message } : {}
  const failure = OUTAGES.has(code) ? PUBLISHING : REFUSED_EVENT
  logRepeated(log, failure, { ...namesOf(context), code, ...reason }, code)
}

/** Omits values that cannot be names: if a caller forgets the chat id, the payload takes its place in the context. */
function namesOf (context: object): object {
  return Object.fromEntries(
    Object.entries(context).filter(([, name]) => typeof name === 'string' && name.length <= MAX_NAME_LENGTH)
  )
}

/** Returns a code for the log. The message is not logged, since an error of a custom provider may quote the payload. */
function codeOf (error: unknown): string | number {
  const { code } = Object(error) as { code?: unknown }
  if (typeof code === 'string' || typeof code === 'number') return code
  return error instanceof Error ? error.name : kindOf(error)
}
