import { setTimeout as delay } from 'node:timers/promises'

/** Asks until the answer is the one that is waited for: for a server that tells of no change by itself. */
export async function until<T> (ask: () => Promise<T>, fulfilled: (answer: T) => boolean): Promise<void> {
  while (!fulfilled(await ask())) await delay(20)
}
