// @ts-check
import { setTimeout as delay } from 'node:timers/promises'

/** Milliseconds between two publishes, in which the server is idle. */
const PAUSE = 10

/**
 * Publishes one event after another for a while, whatever else is running. Returns the durations of the publishes in
 * milliseconds, and how many of them had an unknown outcome or failed.
 * @param {() => unknown} publish
 * @param {number} seconds
 */
export async function publishBeside (publish, seconds) {
  /** @type {number[]} */
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
  const last = latencies.length - 1
  const at = (/** @type {number} */ share) => /** @type {number} */ (latencies[Math.floor(last * share)])
  return { count: latencies.length, median: at(0.5), p99: at(0.99), most: at(1), unknown, rejected }
}

/**
 * Publishes `events` events of `bytes` bytes to each of `chats` chats.
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
