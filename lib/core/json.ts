import { RealtimeError, kindOf } from '../errors.ts'

/** Writes a value as JSON on one line: no CR, LF or NUL can occur in it. Throws `RT_PAYLOAD_INVALID`. */
export function toJson (value: unknown): string {
  let json: string | undefined
  try {
    json = JSON.stringify(value)
  } catch (error) {
    // Of the error only its kind is told: a message of a toJSON method may quote the payload.
    throw notJson(error instanceof TypeError ? 'one that holds a BigInt or a circle, or whose getter or toJSON method throws' : 'one whose getter or toJSON method throws')
  }
  if (json === undefined) throw notJson(kindOf(value))
  return json
}

/** Names what can't be published without quoting it. */
export function notJson (what: string): RealtimeError {
  return new RealtimeError('RT_PAYLOAD_INVALID', `A payload must be a JSON value, got ${what}. Publish plain objects, arrays, strings, numbers, booleans or null`)
}

/** Reads JSON that was received. Throws `RT_PAYLOAD_INVALID`: the error of `JSON.parse` quotes the payload, which must not reach a log. */
export function parseJson (json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    throw new RealtimeError('RT_PAYLOAD_INVALID', 'What was received is not JSON')
  }
}
