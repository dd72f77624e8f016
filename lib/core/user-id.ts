import { RealtimeError, kindOf } from '../errors.ts'

/** Whether it can be the id of a user. A lone surrogate is refused: in UTF-8 all of them are the same bytes, so users would mix. */
export function isUserId (userId: unknown): userId is string {
  return typeof userId === 'string' && userId !== '' && userId.length <= 256 && userId.isWellFormed()
}

/** Names a malformed id of a user without quoting it. */
export function kindOfUserId (userId: unknown): string {
  return typeof userId === 'string' ? 'an empty, long or ill-formed string' : kindOf(userId)
}

/** Throws `RT_USER_ID_INVALID`. */
export function checkUserId (userId: unknown): void {
  if (!isUserId(userId)) throw new RealtimeError('RT_USER_ID_INVALID', kindOfUserId(userId))
}
