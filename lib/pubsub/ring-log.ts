import type { EventRing } from './event-ring.ts'

/**
 * An event log in this process. Rooms read the events from its rings, so that they keep no copies. This is a class, not
 * a part of `EventLog`, since apps implement that interface.
 */
export abstract class RingLog {
  /** Maximum number of events in a ring. */
  abstract readonly capacity: number
  /** The events of a channel; `undefined` if it has no log. When they expire, another ring replaces this one. */
  abstract ring (channel: string): EventRing | undefined
}
