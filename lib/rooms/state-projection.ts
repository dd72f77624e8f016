import type { Field, Piece } from '../pubsub/state-store.ts'
import type { Envelope } from '../pubsub/event-log.ts'

/** The room that a projection is created for. */
export interface ProjectedRoom {
  readonly chatId: string
  /** All fields of the chat's state, including those of other projections. */
  readonly fields: ReadonlyMap<string, Field>
  /** Writes a frame without an id to every stream of the room. */
  write (frame: Buffer): void
  /** Passes an event without a position to every stream and handler. */
  emit (envelope: Envelope): void
}

/**
 * Presents some fields of a chat's state to streams. Every projection gets all fields and picks its own by their
 * names.
 */
export interface StateProjection {
  /**
   * Called when a field differs from its last reported value. `before` or `after` is `undefined` if the field did not
   * exist then. Both are `undefined` if the field was removed after `forget`, before it was reported again. `piece` is
   * what was appended to a draft. Without it, more than one piece may be new.
   */
  field (name: string, after: Field | undefined, before: Field | undefined, piece?: Piece): void
  /** Called with each event of the log whose name is `ProjectionFactory.eventName`, before it is written. */
  receive? (envelope: Envelope): void
  /** Returns the frames that a new stream needs first. They have no ids. Later changes are written with `write`. */
  snapshot (): Buffer[]
}

/** Creates the projections of one kind, one for each room. */
export interface ProjectionFactory {
  /** The name of events of the log that matter to these projections, if there is one. */
  readonly eventName?: string
  create (room: ProjectedRoom): StateProjection
}
