import { RealtimeError, kindOf } from './errors.ts'

/** Writes a value as JSON on one line: no CR, LF or NUL can occur in it. Throws `RT_PAYLOAD_INVALID`. */
export function toJson (value: unknown): string {
  let json: string | undefined
  try {
    json = JSON.stringify(value)
  } catch (error) {
    // Of the error only its kind is told: a message of a toJSON method may quote the payload.
    throw new RealtimeError('RT_PAYLOAD_INVALID', error instanceof TypeError ? 'it holds a BigInt or a circle' : 'its toJSON method threw')
  }
  if (json === undefined) throw new RealtimeError('RT_PAYLOAD_INVALID', `it is ${kindOf(value)}`)
  return json
}

/** Reads JSON that was received. Throws `RT_PAYLOAD_INVALID`: the error of `JSON.parse` quotes the payload, which must not reach a log. */
export function parseJson (json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    throw new RealtimeError('RT_PAYLOAD_INVALID', 'what was received is not JSON')
  }
}
