import { setTimeout as delay } from 'node:timers/promises'

const { gc } = globalThis
if (gc === undefined) throw new Error('Run it with --expose-gc')

/** A heap that falls by less than this, for some seconds, has settled. */
const SETTLED = 100_000

/** Bytes of this process: of its heap with external memory, and resident ones. */
export function memory () {
  const { heapUsed, external, rss } = process.memoryUsage()
  return { heap: heapUsed + external, rss }
}

/**
 * What the heap comes to once nothing more is freed. At one moment it says little: what a timer or a finalizer still
 * holds is released seconds later.
 */
export async function settledHeap () {
  let least = Infinity
  for (let looks = 0; looks < 10; looks++) {
    gc()
    const { heap } = memory()
    if (heap < least - SETTLED) looks = 0
    least = Math.min(least, heap)
    await delay(500)
  }
  return least
}
