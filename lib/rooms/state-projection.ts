import type { Field } from '../pubsub/state-store.ts'
import type { Envelope } from '../pubsub/event-log.ts'

/** The room that a view is made for. */
export interface ProjectedRoom {
  readonly chatId: string
  /** All fields of the chat's state, those of other views too. */
  readonly fields: ReadonlyMap<string, Field>
  /** Sends a frame without an id to every stream that is here. */
  write (frame: Buffer): void
  /** Gives an event without a position to every stream and handler. */
  emit (envelope: Envelope): void
}

/** What streams are told of some fields of a chat's state. Fields are for everyone: a view knows its own by their names. */
export interface StateProjection {
  /** A field differs from what was told of it before. `before` or `after` is `undefined` where there is none: both, where one that was forgotten is gone by now. */
  field (name: string, after: Field | undefined, before: Field | undefined): void
  /** An event of the log, just before it is sent. */
  event (envelope: Envelope): void
  /** What a stream that has just come has to know. Frames without ids: all that comes later is told by `tell`. */
  snapshot (): Buffer[]
}

export type MakeProjection = (room: ProjectedRoom) => StateProjection
