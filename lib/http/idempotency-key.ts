import { createHash } from 'node:crypto'
import { RealtimeError } from '../errors.ts'
import { checkIdempotencyKey, OWN_KEY } from '../pubsub/names.ts'

const STRING = String.raw`"(?:[ !#-[\]-~]|\\["\\])*"`
const PARAMETER = String.raw`; *[a-z*][a-z0-9_.*-]*(?:=(?:${STRING}|[^ ",;]+))?`
/** A structured field (RFC 9651) that is a string. Its parameters have no meaning here, and are ignored. */
const ITEM = new RegExp(`^ *(${STRING})(?:${PARAMETER})* *$`)

/**
 * Parses the header `Idempotency-Key` of the draft of the IETF: one string in double quotes. Returns a key that cannot
 * be one of the app, which may let other clients choose its keys. Throws `RT_IDEMPOTENCY_KEY_INVALID`.
 */
export function idempotencyKeyOf (header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined
  // Node joins a header that is sent twice with a comma, and the result does not match.
  const [, quoted] = ITEM.exec(String(header)) ?? []
  if (quoted === undefined) {
    throw new RealtimeError(
      'RT_IDEMPOTENCY_KEY_INVALID',
      'a header that is not one string in double quotes, as in Idempotency-Key: "order-42"'
    )
  }
  const key = quoted.slice(1, -1).replaceAll(/\\(.)/g, '$1')
  checkIdempotencyKey(key)
  return OWN_KEY + createHash('sha256').update(key).digest('base64url')
}
