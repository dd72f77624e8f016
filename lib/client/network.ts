/** What browsers have, and Node has not. */
interface Page {
  addEventListener (type: string, listener: () => void): void
  removeEventListener (type: string, listener: () => void): void
  document?: Page & { visibilityState: string }
}

/** Tells when a device is back: online again, or awake. Returns its undo. Does nothing where there is no page. */
export function watchNetwork ({ wake, offline }: { wake: () => void, offline: () => void }): () => void {
  const page = globalThis as unknown as Partial<Page>
  const { document } = page
  if (document === undefined) return () => {}
  const visible = (): void => { if (document.visibilityState === 'visible') wake() }
  const listeners: [Page, string, () => void][] = [
    [page as Page, 'online', wake], [page as Page, 'offline', offline], [page as Page, 'pageshow', wake], [document, 'visibilitychange', visible]
  ]
  for (const [target, type, listener] of listeners) target.addEventListener(type, listener)
  return () => { for (const [target, type, listener] of listeners) target.removeEventListener(type, listener) }
}
