// @ts-check

/**
 * @typedef {object} Page Rows of the database.
 * @property {import('../message.js').Message[]} messages
 * @property {string | null} before Where the messages before these begin. `null` if there are none.
 * @property {string} lastEventId The position of the stream, read before the rows.
 */

/**
 * Loads the newest messages of a room, or those before a position.
 *
 * @param {string} roomId
 * @param {{ before?: string, signal?: AbortSignal }} [options]
 * @returns {Promise<Page>}
 */
export async function loadMessages (roomId, { before, signal } = {}) {
  const query = before === undefined ? '' : `?before=${before}`
  const response = await fetch(`/api/chats/${encodeURIComponent(roomId)}/messages${query}`, signal && { signal })
  if (!response.ok) throw new Error(`The server answered ${response.status}`)
  return await response.json()
}
