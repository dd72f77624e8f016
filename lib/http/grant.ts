import { kindOf } from '../errors.ts'
import { isUserId, kindOfUserId } from '../core/user-id.ts'

/**
 * A grant that `authorize` returns instead of `true`: an object with at least one of the two fields and no others.
 *
 * - `userId`: the id of the user, a well-formed string of 1 to 256 characters. Required for `chatEvents.revoke` and the
 *   option `presence`. `maxConnectionsPerClient` counts by it.
 * - `expiresAt`: the time at which the stream ends, as milliseconds since 1970 or a Date. The client then reconnects
 *   and is authorized again.
 */
export type AccessGrant = { userId: string, expiresAt?: number | Date } | { userId?: string, expiresAt: number | Date }

/** A validated grant. */
export interface Grant { userId: string | undefined, expiresAt: number | undefined }

/** The grant for a result of `true`: no user and no expiry. */
export const ANONYMOUS: Grant = { userId: undefined, expiresAt: undefined }

/** A grant that has always been expired. */
export const EXPIRED: Grant = { userId: undefined, expiresAt: -Infinity }

/**
 * Reads the result of `authorize`. Returns a grant, `undefined` for a refusal, or a description of an invalid result
 * that quotes no value. Does not check whether the grant has expired.
 */
export function readGrant (result: unknown): Grant | string | undefined {
  if (result === true) return ANONYMOUS
  if (result === false || result === undefined || result === null) return undefined
  if (typeof result !== 'object' || Array.isArray(result)) return kindOf(result)
  if (!isPlain(result)) return 'an object that is not plain'
  const names = Reflect.ownKeys(result)
  if (names.length === 0) return 'an empty object'
  const other = names.find((name) => name !== 'userId' && name !== 'expiresAt')
  if (other !== undefined) return `an object with ${fieldName(other)}`
  const grant: Grant = { ...ANONYMOUS }
  if (Object.hasOwn(result, 'userId')) {
    const { userId } = result as { userId?: unknown }
    if (!isUserId(userId)) return `a userId that is ${kindOfUserId(userId)}`
    grant.userId = userId
  }
  if (Object.hasOwn(result, 'expiresAt')) {
    const { expiresAt } = result as { expiresAt?: unknown }
    const time = expiresAt instanceof Date ? expiresAt.getTime() : expiresAt
    if (typeof time !== 'number' || Number.isNaN(time)) {
      return `an expiresAt that is ${typeof time === 'number' ? 'NaN' : kindOf(time)}`
    }
    grant.expiresAt = time
  }
  return grant
}

/**
 * Returns whether a value is a plain object. A database row or an error may have the same fields, but is not a
 * statement about access.
 */
function isPlain (value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** Names an unknown field, so that a typo is easy to find. Unusual names are hidden, since they may contain secrets. */
function fieldName (name: string | symbol): string {
  return typeof name === 'string' && /^[a-zA-Z]{1,32}$/.test(name) ? `the field ${name}` : 'another field'
}
