/** How long a test waits before it fails. No wait takes as long, not even on a busy machine. */
export const PATIENCE_MS = 30_000

// A test may replace the global ones.
const { setTimeout, clearTimeout } = globalThis

/** Settles as a promise does, or rejects and names what did not come: a test must not hang. */
export async function inTime<T> (promise: Promise<T>, awaited: string, patienceMs = PATIENCE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${awaited} did not come within ${patienceMs} ms`)), patienceMs)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
