import { attendanceField, attendeeOf } from '../attendance.ts'
import { timing } from '../options.ts'
import type { Field } from '../pubsub/state-store.ts'
import { encodeFrame } from '../sse/frame.ts'
import type { StateView, ViewedRoom } from './state-view.ts'

/** Who a view of presence is made for. */
export interface PresenceViewContext {
  instanceId: string
  /** Is told that a field of this instance is gone, whoever deleted it. */
  onGone (chatId: string, userId: string): void
}

/** Who is in a chat, as its streams and handlers are told: first all, then who joins and who leaves. */
export class PresenceView implements StateView {
  readonly #room: ViewedRoom
  readonly #context: PresenceViewContext
  /** The fields of each user, one for each instance that he is connected to. */
  readonly #present = new Map<string, Set<string>>()
  /** Who is here as far as everyone in the room was told. */
  readonly #told = new Set<string>()
  /** What tells who comes of all of them: many may come before that changes. */
  #all: Buffer | undefined
  /** Whose fields have changed in this turn of the event loop. */
  #changed = new Set<string>()

  constructor (room: ViewedRoom, context: PresenceViewContext) {
    this.#room = room
    this.#context = context
  }

  field (name: string, after: Field | undefined): void {
    const userId = attendeeOf(name)
    if (userId === undefined) return
    const fields = this.#present.get(userId) ?? new Set()
    if (after === undefined) fields.delete(name)
    else fields.add(name)
    if (fields.size === 0) this.#present.delete(userId)
    else this.#present.set(userId, fields)
    if (this.#changed.size === 0) setImmediate(() => this.#endTurn())
    this.#changed.add(userId)
    if (after === undefined && name === attendanceField(this.#context.instanceId, userId)) this.#context.onGone(this.#room.chatId, userId)
  }

  event (): void {}

  /** Not who is here by now: those who came before are told of that together with this stream. */
  snapshot (): Buffer[] {
    this.#all ??= encodeFrame({ event: 'presence', json: this.#json({ users: [...this.#told].sort() }) })
    return [this.#all]
  }

  #endTurn (): void {
    const changed = [...this.#changed]
    this.#changed = new Set()
    this.#tell(changed.filter((userId) => this.#present.has(userId)))
    const absent = changed.filter((userId) => !this.#present.has(userId))
    // Where Redis has lost them, the instances put them back: who stays connected shall not be told as left.
    if (absent.length > 0) setTimeout(() => this.#tell(absent), timing.presenceSettle).unref()
  }

  /** Tells of those of whom something else was told before. */
  #tell (users: string[]): void {
    const joined = users.filter((userId) => this.#present.has(userId) && !this.#told.has(userId)).sort()
    const left = users.filter((userId) => !this.#present.has(userId) && this.#told.has(userId)).sort()
    if (joined.length + left.length === 0) return
    for (const userId of joined) this.#told.add(userId)
    for (const userId of left) this.#told.delete(userId)
    this.#all = undefined
    this.#room.emit({ from: this.#context.instanceId, timestamp: Date.now(), event: 'presence', json: this.#json({ joined, left }) })
  }

  #json (who: object): string {
    return JSON.stringify({ type: 'presence', chatId: this.#room.chatId, ...who })
  }
}
