import { presenceField, userIdOf } from './fields.ts'
import type { Field } from '../pubsub/state-store.ts'
import { encodeFrame } from '../sse/frame.ts'
import type { StateProjection, ProjectedRoom } from '../rooms/state-projection.ts'
import { timing } from '../core/timing.ts'

/** Who a view of presence is made for. */
export interface PresenceProjectionContext {
  instanceId: string
  /** Is told that a field of this instance is gone, whoever deleted it. */
  onGone (chatId: string, userId: string): void
}

/** Who is in a chat, as its streams and handlers are told: first all, then who joins and who leaves. */
export class PresenceProjection implements StateProjection {
  readonly #room: ProjectedRoom
  readonly #context: PresenceProjectionContext
  /** The fields of each user, one for each instance that he is connected to. */
  readonly #present = new Map<string, Set<string>>()
  /** Who is here as far as everyone in the room was told. */
  readonly #published = new Set<string>()
  /** What tells who comes of all of them: many may come before that changes. */
  #all: Buffer | undefined
  /** Whose fields have changed in this turn of the event loop. */
  #changed = new Set<string>()

  constructor (room: ProjectedRoom, context: PresenceProjectionContext) {
    this.#room = room
    this.#context = context
  }

  field (name: string, after: Field | undefined): void {
    const userId = userIdOf(name)
    if (userId === undefined) return
    const fields = this.#present.get(userId) ?? new Set()
    if (after === undefined) fields.delete(name)
    else fields.add(name)
    if (fields.size === 0) this.#present.delete(userId)
    else this.#present.set(userId, fields)
    if (this.#changed.size === 0) setImmediate(() => this.#endTurn())
    this.#changed.add(userId)
    if (after === undefined && name === presenceField(this.#context.instanceId, userId)) this.#context.onGone(this.#room.chatId, userId)
  }

  event (): void {}

  /** Not who is here by now: those who came before are told of that together with this stream. */
  snapshot (): Buffer[] {
    this.#all ??= encodeFrame({ event: 'presence', json: this.#json({ users: [...this.#published].sort() }) })
    return [this.#all]
  }

  #endTurn (): void {
    const changed = [...this.#changed]
    this.#changed = new Set()
    this.#publish(changed.filter((userId) => this.#present.has(userId)))
    const absent = changed.filter((userId) => !this.#present.has(userId))
    // Where Redis has lost them, the instances put them back: who stays connected shall not be told as left.
    if (absent.length > 0) setTimeout(() => this.#publish(absent), timing.presenceSettle).unref()
  }

  /** Tells of those of whom something else was told before. */
  #publish (users: string[]): void {
    const joined = users.filter((userId) => this.#present.has(userId) && !this.#published.has(userId)).sort()
    const left = users.filter((userId) => !this.#present.has(userId) && this.#published.has(userId)).sort()
    if (joined.length + left.length === 0) return
    for (const userId of joined) this.#published.add(userId)
    for (const userId of left) this.#published.delete(userId)
    this.#all = undefined
    this.#room.emit({ from: this.#context.instanceId, timestamp: Date.now(), event: 'presence', json: this.#json({ joined, left }) })
  }

  #json (who: object): string {
    return JSON.stringify({ type: 'presence', chatId: this.#room.chatId, ...who })
  }
}
