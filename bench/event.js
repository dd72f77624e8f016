// @ts-check

/** Bytes of JSON that an event has. */
const BYTES = 200

/**
 * Before the number of an event and the time of its sending, which have a fixed width: the client finds them without parsing.
 * (One byte would be found in the headers of WebSocket's frames, too.)
 */
export const MARK = '#~'
export const NUMBER_WIDTH = 8
export const TIME_WIDTH = 15
export const MARK_LENGTH = MARK.length + NUMBER_WIDTH + TIME_WIDTH

/**
 * One message of a chat.
 * @param {string} chatId
 * @param {number} number Counts the events of the chat.
 */
export function makeEvent (chatId, number) {
  const mark = MARK + String(number).padStart(NUMBER_WIDTH, '0') + String(microseconds()).padStart(TIME_WIDTH, '0')
  // What stands around the text: {"type":"message","message":{"text":""},"chatId":""}
  return { type: 'message', message: { text: mark.padEnd(BYTES - 52 - chatId.length, 'x') }, chatId }
}

/** A clock that all processes of the machine share. */
export function microseconds () {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1e6 + Math.round(nanoseconds / 1e3)
}
