/** How events arrive: over an event stream, or by long poll where a proxy holds streams back. */
export type TransportName = 'stream' | 'long-poll'

/** A stream that shows nothing for this long may be held back. */
export const MUTE_MS = 3_000
/** A stream whose first event comes this long after its headers may be held back, too. */
export const LATE_MS = 500
/** The delays before the stream is tried again. */
const FIRST_TRIAL_MS = 30_000
const MAX_TRIAL_MS = 300_000

/** What the connections of a client know about the network. One of them finds it out, and all of them use it. */
export class Transport {
  name: TransportName = 'stream'
  #trialMs = FIRST_TRIAL_MS
  #trialAt = 0

  /** Uses long polls from now on. */
  fallBack (): void {
    this.name = 'long-poll'
    this.#postponeTrial()
  }

  /** Whether the stream is to be tried again. Then postpones the next trial. */
  isTrialDue (): boolean {
    const isDue = Date.now() >= this.#trialAt
    if (isDue) this.#postponeTrial()
    return isDue
  }

  #postponeTrial (): void {
    this.#trialAt = Date.now() + this.#trialMs
    this.#trialMs = Math.min(this.#trialMs * 2, MAX_TRIAL_MS)
  }
}
