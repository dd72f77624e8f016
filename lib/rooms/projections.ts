import type { Logger } from '../logger.ts'
import type { Envelope } from '../pubsub/provider.ts'
import type { Stamp, StateStore } from '../pubsub/state-store.ts'
import { logRepeated, type RepeatedFailure } from '../repeated-failure.ts'
import { Mirror } from './mirror.ts'
import type { ReadGate } from './read-gate.ts'
import type { MakeView, StateView, ViewedRoom } from './state-view.ts'

const READING_STATE: RepeatedFailure = { level: 'warn', message: 'The state of a chat can\'t be read, trying again' }

export interface ProjectionsContext {
  channel: string
  store: StateStore
  /** How much all chats read at the same time. */
  reads: ReadGate
  views: readonly MakeView[]
  log: Logger
  /** Called where the whole state is gone: the log may be lost as well. */
  onVanished (): void
}

/** What the features show of the state of one chat: the replica of the state, and a projection for each feature. */
export class Projections {
  readonly #mirror: Mirror
  readonly #views: StateView[]

  constructor (room: Omit<ViewedRoom, 'fields'>, { channel, store, reads, views, log, onVanished }: ProjectionsContext) {
    const { chatId } = room
    const mirror = this.#mirror = new Mirror(channel, store, reads, {
      field: (name, after, before) => { for (const view of this.#views) view.field(name, after, before) },
      vanished: onVanished,
      failed: ({ message }) => logRepeated(log, READING_STATE, { chatId, reason: message })
    })
    const viewed: ViewedRoom = {
      chatId,
      get fields () { return mirror.fields },
      tell: (frame) => room.tell(frame),
      emit: (envelope) => room.emit(envelope)
    }
    this.#views = views.map((make) => make(viewed))
  }

  /** Called with each event of the log, just before it is written. */
  event (envelope: Envelope): void {
    for (const view of this.#views) view.event(envelope)
  }

  /** The frames that a stream needs first. */
  snapshot (): Buffer[] {
    return this.#views.flatMap((view) => view.snapshot())
  }

  /** Reads the state if it is not the one that is known. */
  look (stamp: Stamp | undefined): void {
    this.#mirror.look(stamp)
  }

  /** Compares what is known of the state with the store, if there is a state. */
  check (): void {
    this.#mirror.check()
  }

  /** Shows everything anew: streams that got a `reset` have thrown away what they knew. */
  forget (): void {
    this.#mirror.forget()
  }

  close (): void {
    this.#mirror.close()
  }
}
