// @ts-check

/**
 * Reads and writes JSON in the browser's storage. It may be full or forbidden; then nothing is stored.
 *
 * @param {'localStorage' | 'sessionStorage'} kind
 */
export function jsonStorage (kind) {
  return {
    /** @param {string} key @returns {unknown} `undefined` if no valid JSON is stored */
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
