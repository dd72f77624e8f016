import { RealtimeError, type RealtimeErrorCode } from '../errors.ts'

const OVERLOAD: ReadonlySet<string> = new Set<RealtimeErrorCode>([
  'RT_TOO_MANY_CONNECTIONS', 'RT_TOO_MANY_PER_CLIENT', 'RT_TOO_MANY_PER_SESSION', 'RT_TOO_MANY_ROOMS'
])

/** Returns whether an error refuses a request because this instance has too much to do. */
export function isOverload (error: unknown): error is RealtimeError {
  return error instanceof RealtimeError && OVERLOAD.has(error.code)
}
