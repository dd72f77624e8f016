// @ts-check
import { makeEvent } from './event.js'

/**
 * Publishes `count` events, `inFlight` of them at a time, and resolves with the seconds that it took.
 * @param {(chatId: string, event: ReturnType<typeof makeEvent>) => Promise<unknown>} publish
 * @param {number} count
 * @param {(index: number) => string} chatOf
 * @param {number} inFlight
 * @param {number} [bytes] The size of an event.
 */
export async function flood (publish, count, chatOf, inFlight, bytes) {
  const start = performance.now()
  let next = 0
  await Promise.all(Array.from({ length: inFlight }, async () => {
    while (next < count) {
      const chatId = chatOf(next)
      await publish(chatId, makeEvent(chatId, next++, bytes))
    }
  }))
  return (performance.now() - start) / 1000
}
