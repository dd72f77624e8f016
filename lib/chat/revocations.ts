/** Listens to revocations. */
export interface RevocationListener {
  /** Called when the access of a user to a chat is revoked. It may be called twice for one revocation. */
  revoked (chatId: string, userId: string): void
  /** Called when every revocation so far has been received, or `continuity` has changed. */
  synced (): void
}

/** The state of the subscription to the revocations of all instances. */
export interface RevocationWatch {
  /** True if every revocation so far has been received. */
  readonly inSync: boolean
  /** Changes when a revocation may have been missed. */
  readonly continuity: number
  stop (): void
}
