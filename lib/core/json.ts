import { RealtimeError, kindOf } from '../errors.ts'

/**
 * Serializes a value as JSON on one line. The line contains no CR, LF or NUL, so it is safe in an SSE frame. Throws
 * `RT_PAYLOAD_INVALID`.
 */
export function toJson (value: unknown): string {
  let json: string | undefined
  try {
    json = JSON.stringify(value)
  } catch (error) {
    // The original message is not included: an error of a toJSON method may quote the payload.
    throw notJson(
      error instanceof TypeError
        ? 'one that holds a BigInt or a circular reference, or whose getter or toJSON method throws'
        : 'one whose getter or toJSON method throws'
    )
  }
  if (json === undefined) throw notJson(kindOf(value))
  return json
}

/** Creates an error for a value that cannot be published. `what` describes the value without quoting it. */
export function notJson (what: string): RealtimeError {
  return new RealtimeError(
    'RT_PAYLOAD_INVALID',
    `A payload must be a JSON value, got ${what}. Publish plain objects, arrays, strings, numbers, booleans or null`
  )
}

/** Returns the value. Throws `RT_PAYLOAD_INVALID` if it is not an object. `field` is its name for the message. */
export function mustBeObject<T> (field: string, value: T): T {
  if (typeof value === 'object' && value !== null) return value
  throw new RealtimeError(
    'RT_PAYLOAD_INVALID',
    `\`${field}\` must be an object, got ${kindOf(value)}. Publish an object that can be converted to JSON`
  )
}

/**
 * Parses received JSON. Throws `RT_PAYLOAD_INVALID` instead of the error of `JSON.parse`, which quotes the payload:
 * payloads must not reach a log.
 */
export function parseJson (json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    throw new RealtimeError('RT_PAYLOAD_INVALID', 'The received data is not valid JSON')
  }
}
