import { RealtimeError, kindOf } from '../errors.ts'

/**
 * Returns whether a value is a valid user id. Lone surrogates are refused: UTF-8 encodes all of them as the same bytes,
 * so different users would share an id.
 */
export function isUserId (userId: unknown): userId is string {
  return typeof userId === 'string' && userId !== '' && userId.length <= 256 && userId.isWellFormed()
}

/** Describes an invalid user id without quoting it. */
export function kindOfUserId (userId: unknown): string {
  return typeof userId === 'string' ? 'an empty, long or ill-formed string' : kindOf(userId)
}

/** Throws `RT_USER_ID_INVALID`. */
export function checkUserId (userId: unknown): void {
  if (!isUserId(userId)) throw new RealtimeError('RT_USER_ID_INVALID', kindOfUserId(userId))
}
