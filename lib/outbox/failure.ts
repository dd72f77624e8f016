import { RealtimeError } from '../errors.ts'

/**
 * Describes a failure of the database for the log, by its code or its name. The message is left out, since it may quote
 * values of a row, or the URL of the database.
 */
export function describeFailure (error: unknown): { code: string, reason?: string } {
  if (error instanceof RealtimeError) return { code: error.code, reason: error.message }
  const { code, name } = Object(error) as { code?: unknown, name?: unknown }
  return { code: String(code ?? name ?? typeof error) }
}
