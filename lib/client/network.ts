/** The part of the browser globals that is used here. Node does not have it. */
interface Page {
  addEventListener (type: string, listener: () => void, options: { signal: AbortSignal }): void
  document?: Page & { hidden: boolean }
}

/**
 * Calls `wake` when the device is online again or awake, and `offline` when it loses the network. Returns a function
 * that removes the listeners. Does nothing outside of a page.
 */
export function watchNetwork (wake: () => void, offline?: () => void): () => void {
  const page = globalThis as unknown as Page
  const { document } = page
  if (!document) return () => {}
  const visible = (): void => { if (!document.hidden) wake() }
  const removal = new AbortController()
  page.addEventListener('online', wake, removal)
  page.addEventListener('pageshow', wake, removal)
  if (offline) page.addEventListener('offline', offline, removal)
  document.addEventListener('visibilitychange', visible, removal)
  return () => removal.abort()
}
