/** The field of a chat's state that says that a user is here, as far as one instance knows. */
export function presenceField (instanceId: string, userId: string): string {
  return `presence:${encodeURIComponent(instanceId)}:${userId}`
}

/** The user that a field is about, if it says that one is here. */
export function userIdOf (field: string): string | undefined {
  return /^presence:[^:]+:([^]+)$/.exec(field)?.[1]
}
