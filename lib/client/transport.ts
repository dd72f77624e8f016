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
export interface Transport {
  /** 0: they use streams. 1: they use long polls, and none was answered with an event yet. 2: long polls that work. */
  polls: 0 | 1 | 2
  /** Uses long polls from now on. */
  fallBack (): void
  /** Uses streams from now on. The first that is quiet is compared with a poll. */
  recover (): void
  /** Whether the other transport is to be tried, beside the one in use. Then postpones the next trial. */
  isTrialDue (): boolean
}

export function createTransport (): Transport {
  let trialMs = FIRST_TRIAL_MS
  let trialAt = 0

  const transport: Transport = {
    polls: 0,
    fallBack () {
      transport.polls = 1
      trialAt = Date.now() + trialMs
    },
    recover () {
      transport.polls = 0
      trialAt = 0
    },
    isTrialDue () {
      const isDue = Date.now() >= trialAt
      if (isDue) {
        trialAt = Date.now() + trialMs
        trialMs = Math.min(trialMs * 2, MAX_TRIAL_MS)
      }
      return isDue
    }
  }
  return transport
}
