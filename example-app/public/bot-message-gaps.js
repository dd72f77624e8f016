// @ts-check

/**
 * @typedef {import('./fastify-realtime/client.js').RealtimeChat} RealtimeChat
 * @typedef {import('./fastify-realtime/client.js').ChatEventMap['bot_message']} BotMessageEvent
 *
 * @typedef {object} Known
 * @property {number} length The length of the content that was passed on.
 * @property {BotMessageEvent[]} [held] The pieces that arrived while the content before them is fetched.
 */

/**
 * Calls `handler` with the pieces of bot messages, without gaps. Of a long one the stream sends a new reader only the
 * length. So if a piece begins beyond what is known, the content before it is fetched, and passed on as a piece.
 *
 * @param {RealtimeChat} chat
 * @param {(event: BotMessageEvent) => void} handler
 */
export function onBotMessage (chat, handler) {
  /** @type {Map<string, Known>} */
  const messages = new Map()
  chat.onReset(() => messages.clear())
  chat.on('bot_message', (event) => {
    const known = messages.get(event.id) ?? { length: 0 }
    messages.set(event.id, known)
    if (known.held !== undefined) known.held.push(event)
    else if (event.at > known.length) fill(known, event)
    else pass(known, event)
  })

  /** @param {Known} known @param {BotMessageEvent} event */
  function pass (known, event) {
    known.length = endOf(event)
    if (event.status !== 'streaming') messages.delete(event.id)
    handler(event)
  }

  /** @param {Known} known @param {BotMessageEvent} event */
  async function fill (known, event) {
    const held = known.held = [event]
    const rest = await fetchRest(chat.id, event.id, known.length)
    known.held = undefined
    // After a reset, the room is followed anew.
    if (messages.get(event.id) !== known) return
    if (rest !== undefined) pass(known, { ...event, status: 'streaming', ...rest })
    for (const next of held) {
      // The response has what was appended until it was sent.
      if (next.status !== 'streaming' || endOf(next) > known.length) pass(known, next)
    }
  }
}

/** @param {string} chatId @param {string} id @param {number} at */
async function fetchRest (chatId, id, at) {
  const path = `/api/chats/${encodeURIComponent(chatId)}/bot-messages/${encodeURIComponent(id)}?at=${at}`
  const response = await fetch(path).catch(() => undefined)
  if (response?.ok !== true) return undefined
  const { at: from, text, chunks } = await response.json()
  return { at: from, text, chunks }
}

/** @param {BotMessageEvent} event */
function endOf ({ at, text, chunks }) {
  return at + (text ?? chunks).length
}
