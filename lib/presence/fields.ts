/** The field of a chat's state with which one instance marks a user as present. */
export function presenceField (instanceId: string, userId: string): string {
  return `presence:${encodeURIComponent(instanceId)}:${userId}`
}

/** The user id in a presence field. Returns `undefined` for any other field. */
export function userIdOf (field: string): string | undefined {
  return /^presence:[^:]+:([^]+)$/.exec(field)?.[1]
}
