/**
 * Returns the name of the field with which an instance marks a user as present in a chat's state. The instance id is
 * encoded, so that it contains no colon.
 */
export function presenceField (instanceId: string, userId: string): string {
  return `presence:${encodeURIComponent(instanceId)}:${userId}`
}

/** Returns the user id in the name of a presence field, or `undefined` for any other field. */
export function userIdOf (field: string): string | undefined {
  return /^presence:[^:]+:([^]+)$/.exec(field)?.[1]
}
