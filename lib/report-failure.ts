import type { Logger } from './logger.ts'

const reported = new WeakSet<object>()

/**
 * Logs the failure of a publish, once however many layers hand the promise on. Whoever ignores the promise causes no
 * `unhandledRejection` by that; whoever awaits it still gets the rejection.
 */
export function reportFailure<T> (promise: Promise<T>, log: Logger, context: object): Promise<T> {
  promise.catch((error: unknown) => {
    if (!(error instanceof Error) || reported.has(error)) return
    reported.add(error)
    // A code says enough; the message of a foreign provider's error may quote the payload.
    log.warn({ ...context, code: 'code' in error ? error.code : error.name }, 'Publishing failed')
  })
  return promise
}
