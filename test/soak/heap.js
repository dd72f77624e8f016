import { setTimeout as delay } from 'node:timers/promises'

const { gc } = globalThis
if (gc === undefined) throw new Error('Run it with --expose-gc')

/** A heap that falls by less than this, for some seconds, has settled. */
const SETTLED = 100_000

/**
 * What the heap comes to once nothing more is freed. At one moment it says little: what a timer or a finalizer still
 * holds is released seconds later.
 */
export async function settledHeap () {
  let least = Infinity
  for (let looks = 0; looks < 10; looks++) {
    gc()
    const { heapUsed, external } = process.memoryUsage()
    const heap = heapUsed + external
    if (heap < least - SETTLED) looks = 0
    least = Math.min(least, heap)
    await delay(500)
  }
  return least
}
