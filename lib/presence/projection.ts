import { presenceField, userIdOf } from './fields.ts'
import type { Field } from '../pubsub/state-store.ts'
import { encodeFrame } from '../sse/frame.ts'
import type { StateProjection, ProjectedRoom } from '../rooms/state-projection.ts'
import { timing } from '../core/timing.ts'

/** Dependencies of a presence projection. */
interface PresenceProjectionContext {
  instanceId: string
  /** Called when a field of this instance was deleted, by this instance or not. */
  onFieldDeleted (chatId: string, userId: string): void
}

/**
 * Shows the present users of a chat to its streams and handlers. A new stream gets all users first; then `presence`
 * events name those who have joined or left.
 */
export class PresenceProjection implements StateProjection {
  readonly #room: ProjectedRoom
  readonly #context: PresenceProjectionContext
  /** The fields of each user, one for each instance that they are connected to. */
  readonly #present = new Map<string, Set<string>>()
  /** The present users according to the events published so far. */
  readonly #published = new Set<string>()
  /** The cached snapshot, since many streams may open before it changes. */
  #snapshot: Buffer | undefined
  /** The users whose fields have changed in this turn of the event loop. */
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
    if (after === undefined && name === presenceField(this.#context.instanceId, userId)) {
      this.#context.onFieldDeleted(this.#room.chatId, userId)
    }
  }

  /**
   * Returns one frame with the published users. Changes that are not published yet follow as an event, to this stream
   * and all others.
   */
  snapshot (): Buffer[] {
    this.#snapshot ??= encodeFrame({ event: 'presence', json: this.#json({ users: [...this.#published].sort() }) })
    return [this.#snapshot]
  }

  #endTurn (): void {
    const changed = [...this.#changed]
    this.#changed = new Set()
    this.#publish(changed.filter((userId) => this.#present.has(userId)))
    const absent = changed.filter((userId) => !this.#present.has(userId))
    // If Redis has lost the fields, the instances write them again. Without the delay, users who are still connected
    // would be published as `left`.
    if (absent.length > 0) setTimeout(() => this.#publish(absent), timing.presenceSettle).unref()
  }

  /** Publishes the given users whose presence differs from what was published before. */
  #publish (users: string[]): void {
    const joined = users.filter((userId) => this.#present.has(userId) && !this.#published.has(userId)).sort()
    const left = users.filter((userId) => !this.#present.has(userId) && this.#published.has(userId)).sort()
    if (joined.length + left.length === 0) return
    for (const userId of joined) this.#published.add(userId)
    for (const userId of left) this.#published.delete(userId)
    this.#snapshot = undefined
    this.#room.emit({
      from: this.#context.instanceId, timestamp: Date.now(), event: 'presence', json: this.#json({ joined, left })
    })
  }

  #json (users: object): string {
    return JSON.stringify({ type: 'presence', chatId: this.#room.chatId, ...users })
  }
}
