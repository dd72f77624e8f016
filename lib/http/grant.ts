import { kindOf } from '../errors.ts'
import { isUserId, kindOfUserId } from '../core/user-id.ts'

/**
 * What `authorize` grants beyond a plain yes: an object with at least one of the two fields, and no other field.
 *
 * - `userId`: who it is, a well-formed string of 1 to 256 characters. Needed for `chatEvents.revoke` and the option `presence`, and
 *   counted for `maxConnectionsPerClient`.
 * - `expiresAt`: when the stream ends, so that the client reconnects and is asked again: milliseconds since 1970, or a Date.
 */
export type AccessGrant = { userId: string, expiresAt?: number | Date } | { userId?: string, expiresAt: number | Date }

/** A grant after its checks. */
export interface Grant { userId: string | undefined, expiresAt: number | undefined }

/** What `true` grants. */
export const ANYONE: Grant = { userId: undefined, expiresAt: undefined }

/**
 * Reads what `authorize` returned: a grant; `undefined` where it refused; or what is wrong with it, in words that quote no value. Whether the
 * grant has expired is not checked here.
 */
export function readGrant (result: unknown): Grant | string | undefined {
  if (result === true) return ANYONE
  if (result === false || result === undefined || result === null) return undefined
  if (typeof result !== 'object' || Array.isArray(result)) return kindOf(result)
  if (!isPlain(result)) return 'an object that is not a plain one'
  const names = Reflect.ownKeys(result)
  if (names.length === 0) return 'an empty object'
  const other = names.find((name) => name !== 'userId' && name !== 'expiresAt')
  if (other !== undefined) return `an object with ${fieldName(other)}`
  const grant: Grant = { ...ANYONE }
  if (Object.hasOwn(result, 'userId')) {
    const { userId } = result as { userId?: unknown }
    if (!isUserId(userId)) return `a userId that is ${kindOfUserId(userId)}`
    grant.userId = userId
  }
  if (Object.hasOwn(result, 'expiresAt')) {
    const { expiresAt } = result as { expiresAt?: unknown }
    const time = expiresAt instanceof Date ? expiresAt.getTime() : expiresAt
    if (typeof time !== 'number' || Number.isNaN(time)) return `an expiresAt that is ${typeof time === 'number' ? 'NaN' : kindOf(time)}`
    grant.expiresAt = time
  }
  return grant
}

/** Whether it is what a literal makes. A row of a database or an error may have such fields, too, and says nothing of access. */
function isPlain (value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** A typo is easier to find by its name; a name that was made of data could be a secret. */
function fieldName (name: string | symbol): string {
  return typeof name === 'string' && /^[a-zA-Z]{1,32}$/.test(name) ? `the field ${name}` : 'another field'
}
