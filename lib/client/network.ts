/** The part of the browser globals that is used here. Node does not have it. */
interface Page {
  addEventListener (type: string, listener: () => void): void
  removeEventListener (type: string, listener: () => void): void
  document?: Page & { visibilityState: string }
}

/**
 * Calls `wake` when the device is online again or awake, and `offline` when it loses the network. Returns a function
 * that removes the listeners. Does nothing outside of a page.
 */
export function watchNetwork ({ wake, offline }: { wake: () => void, offline: () => void }): () => void {
  const page = globalThis as unknown as Partial<Page>
  const { document } = page
  if (document === undefined) return () => {}
  const visible = (): void => { if (document.visibilityState === 'visible') wake() }
  const listeners: [Page, string, () => void][] = [
    [page as Page, 'online', wake],
    [page as Page, 'offline', offline],
    [page as Page, 'pageshow', wake],
    [document, 'visibilitychange', visible]
  ]
  for (const [target, type, listener] of listeners) target.addEventListener(type, listener)
  return () => { for (const [target, type, listener] of listeners) target.removeEventListener(type, listener) }
}
