import { setTimeout as delay } from 'node:timers/promises'
import { inspect } from 'node:util'
import { inTime, PATIENCE_MS } from './in-time.ts'

/** Polls until an answer fulfils a condition, for servers that report no change. If none does, throws with the last. */
export async function until<T> (
  ask: () => Promise<T>, fulfilled: (answer: T) => boolean, patienceMs = PATIENCE_MS
): Promise<void> {
  const deadline = performance.now() + patienceMs
  for (;;) {
    const answer = await inTime(ask(), `An answer for ${fulfilled}`, patienceMs)
    if (fulfilled(answer)) return
    if (performance.now() > deadline) {
      throw new Error(`Never came true: ${fulfilled}. The last answer: ${inspect(answer, { maxStringLength: 200 })}`)
    }
    await delay(20)
  }
}
