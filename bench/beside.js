// @ts-check
import { setTimeout as delay } from 'node:timers/promises'

/** Between two publishes, in milliseconds: the server is idle in between. */
const PAUSE = 10

/**
 * Publishes one event after another for a while, beside whatever else goes on. Returns how many ms the publishes took, in the middle
 * and at most, and of how many the outcome is unknown, or that they failed.
 * @param {() => unknown} publish
 * @param {number} seconds
 */
export async function publishBeside (publish, seconds) {
  const latencies = []
  let unknown = 0
  let rejected = 0
  for (const end = performance.now() + seconds * 1000; performance.now() < end;) {
    const start = performance.now()
    try {
      await publish()
    } catch (/** @type {any} */ error) {
      if (error.code === 'RT_PUBLISH_UNKNOWN') unknown++
      else rejected++
    }
    latencies.push(performance.now() - start)
    await delay(PAUSE)
  }
  latencies.sort((a, b) => a - b)
  const at = (/** @type {number} */ share) => /** @type {number} */ (latencies[Math.floor((latencies.length - 1) * share)])
  return { count: latencies.length, median: at(0.5), p99: at(0.99), most: at(1), unknown, rejected }
}

/**
 * Publishes so many events of so many bytes to each of several chats.
 * @param {(chatId: string, event: { message: object }) => unknown} publish
 * @param {number} chats
 * @param {number} events
 * @param {number} bytes
 */
export async function fill (publish, chats, events, bytes) {
  const text = 'x'.repeat(bytes)
  let next = 0
  const lanes = Array.from({ length: 32 }, async () => {
    while (next < chats * events) await publish(`chat${next++ % chats}`, { message: { text } })
  })
  await Promise.all(lanes)
}
