import type { Logger } from '../core/logger.ts'
import type { StateVersion, StateStore } from '../pubsub/state-store.ts'
import { logRepeated, type RepeatedFailure } from '../observability/repeated-failure.ts'
import { StateReplica } from './state-replica.ts'
import type { ReadGate } from './read-gate.ts'
import type { MakeProjection, StateProjection, ProjectedRoom } from './state-projection.ts'
import type { Envelope } from '../pubsub/event-log.ts'

const READING_STATE: RepeatedFailure = { level: 'warn', message: 'The state of a chat can\'t be read, trying again' }

export interface ProjectionsContext {
  channel: string
  store: StateStore
  /** Limits the bytes that all chats read at the same time. */
  reads: ReadGate
  projections: readonly MakeProjection[]
  log: Logger
  /** Called if the whole state has vanished: the log may be lost as well. */
  onVanished (): void
}

/** The state of one chat as its features present it: a replica of the state, and a projection per feature. */
export class Projections {
  readonly #replica: StateReplica
  readonly #projections: StateProjection[]

  constructor (
    room: Omit<ProjectedRoom, 'fields'>,
    { channel, store, reads, projections, log, onVanished }: ProjectionsContext
  ) {
    const { chatId } = room
    const replica = this.#replica = new StateReplica(channel, store, reads, {
      field: (name, after, before) => {
        for (const projection of this.#projections) projection.field(name, after, before)
      },
      vanished: onVanished,
      failed: ({ message }) => logRepeated(log, READING_STATE, { chatId, reason: message })
    })
    const projected: ProjectedRoom = {
      chatId,
      get fields () { return replica.fields },
      write: (frame) => room.write(frame),
      emit: (envelope) => room.emit(envelope)
    }
    this.#projections = projections.map((make) => make(projected))
  }

  /** Called with each event of the log, just before it is written. */
  event (envelope: Envelope): void {
    for (const projection of this.#projections) projection.event(envelope)
  }

  /** Returns the frames that a new stream needs first. */
  snapshot (): Buffer[] {
    return this.#projections.flatMap((projection) => projection.snapshot())
  }

  /** Reads the state, unless `version` is known already. */
  syncTo (version: StateVersion | undefined): void {
    this.#replica.syncTo(version)
  }

  /** Compares the replica with the store, if there is a state. */
  poll (): void {
    this.#replica.poll()
  }

  /** Reports all fields again: clients that got a `reset` have discarded their state. */
  forget (): void {
    this.#replica.forget()
  }

  close (): void {
    this.#replica.close()
  }
}
