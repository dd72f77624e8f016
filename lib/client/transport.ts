/** How events arrive: over an event stream, or by long poll where a proxy holds streams back. */
export type TransportName = 'stream' | 'long-poll'

/** A stream that shows nothing for this long may be held back. */
export const MUTE_MS = 3_000
/** A stream whose first event comes this long after its headers may be held back, too. */
export const LATE_MS = 500
/** The delays before the other transport is tried. */
const FIRST_TRIAL_MS = 30_000
const MAX_TRIAL_MS = 300_000

/** What the connections of a client know about the network. One of them finds it out, and all of them use it. */
export class Transport {
  /** Whether they make long polls. */
  polls = false
  #trialMs = FIRST_TRIAL_MS
  #trialAt = 0

  /** Uses long polls from now on. */
  fallBack (): void {
    this.polls = true
    this.#postponeTrial()
  }

  /** Uses streams from now on. The first that is quiet is compared with a poll. */
  recover (): void {
    this.polls = false
    this.#trialAt = 0
  }

  /** Whether the other transport is to be tried, beside the one in use. Then postpones the next trial. */
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
