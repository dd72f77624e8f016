// @ts-check

/**
 * @typedef {object} Page Rows of the database.
 * @property {import('../message.js').Message[]} messages
 * @property {string | null} before Where the messages before these begin. `null` if there are none.
 *
 * @typedef {Page & { lastEventId: string }} NewestPage With the position of the stream, read before the rows.
 */

/**
 * Loads the newest messages of a room.
 *
 * @param {string} roomId
 * @param {AbortSignal} signal
 * @returns {Promise<NewestPage>}
 */
export async function loadNewest (roomId, signal) {
  return await load(`/api/chats/${encodeURIComponent(roomId)}/messages`, { signal })
}

/** Loads those before a position. @param {string} roomId @param {string} before @returns {Promise<Page>} */
export async function loadBefore (roomId, before) {
  return await load(`/api/chats/${encodeURIComponent(roomId)}/messages?before=${before}`)
}

/** @param {string} url @param {RequestInit} [options] */
async function load (url, options) {
  const response = await fetch(url, options)
  if (!response.ok) throw new Error(`The server answered ${response.status}`)
  return await response.json()
}
