import type { EventRing } from './event-ring.ts'

/**
 * An event log in this process. Rooms read the events where they are, so that they keep no copies. This is a class, not
 * a part of `EventLog`, since apps implement that.
 */
export abstract class RingLog {
  /** Maximum number of events that a ring has. */
  abstract readonly capacity: number
  /** The events of a channel; `undefined` if it never had one. Another ring takes their place when they expire. */
  abstract ring (channel: string): EventRing | undefined
}
