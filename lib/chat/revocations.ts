/** Hears of revocations. */
export interface RevocationListener {
  /** The access of a user to a chat is revoked. It can be called twice. */
  revoked (chatId: string, userId: string): void
  /** Every revocation until now has come, or `continuity` has changed. */
  synced (): void
}

/** The revocations of all instances, while they are followed. */
export interface RevocationWatch {
  /** Whether every revocation until now has come. */
  readonly inSync: boolean
  /** Changes when a revocation may have been missed. */
  readonly continuity: number
  stop (): void
}
