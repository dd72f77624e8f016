// @ts-check

/**
 * Reads and writes JSON in the browser's storage, which may be full or forbidden: the page then works without a memory.
 *
 * @param {'localStorage' | 'sessionStorage'} kind
 */
export function jsonStorage (kind) {
  return {
    /** @param {string} key @returns {unknown} `undefined` where nothing usable is stored */
    get (key) {
      try {
        return JSON.parse(window[kind].getItem(key) ?? 'null') ?? undefined
      } catch {
        return undefined
      }
    },
    /** @param {string} key @param {unknown} value */
    set (key, value) {
      try {
        window[kind].setItem(key, JSON.stringify(value))
      } catch {}
    }
  }
}
