// @ts-check
import { makeEvent } from './event.js'
import { median } from './statistics.js'

/**
 * Publishes one event after another. Resolves with the median duration in microseconds.
 * @param {(chatId: string, event: ReturnType<typeof makeEvent>) => Promise<unknown>} publish
 * @param {number} count
 */
export async function oneByOne (publish, count) {
  const times = []
  for (let number = 0; number < count; number++) {
    const start = performance.now()
    await publish('chat0', makeEvent('chat0', number))
    times.push(performance.now() - start)
  }
  return median(times) * 1000
}
