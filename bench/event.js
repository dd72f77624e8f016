// @ts-check

/** The usual size of an event, in bytes of JSON. */
const BYTES = 200

/**
 * Stands before the number of an event and the time at which it was sent. Both have a fixed width, so a client finds
 * them without parsing. (A mark of one byte would also occur in the headers of WebSocket frames.)
 */
export const MARK = '#~'
export const NUMBER_WIDTH = 8
export const TIME_WIDTH = 15
export const MARK_LENGTH = MARK.length + NUMBER_WIDTH + TIME_WIDTH

/**
 * One message of a chat.
 * @param {string} chatId
 * @param {number} number The number of the event in its chat.
 * @param {number} [bytes] Its size in bytes of JSON.
 */
export function makeEvent (chatId, number, bytes = BYTES) {
  const mark = MARK + String(number).padStart(NUMBER_WIDTH, '0') + String(microseconds()).padStart(TIME_WIDTH, '0')
  // The text is surrounded by 52 characters and the chat id: {"type":"message","message":{"text":""},"chatId":""}
  return { type: 'message', message: { text: mark.padEnd(bytes - 52 - chatId.length, 'x') }, chatId }
}

/** Returns the time of a clock that all processes of the machine share. */
export function microseconds () {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1e6 + Math.round(nanoseconds / 1e3)
}
