import { timing } from '../core/timing.ts'

/** Returns the milliseconds to wait after so many failures in a row: longer each time, and with jitter. */
export function delayAfter (failures: number): number {
  const delay = Math.min(timing.outboxRetry * 2 ** (failures - 1), timing.outboxRetryMax)
  return delay * (0.5 + Math.random() / 2)
}
