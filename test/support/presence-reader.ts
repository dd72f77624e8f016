import type { ChatEvent } from '../../lib/index.ts'
import type { EventStream, StreamEvent } from './event-stream.ts'

/** The users in a chat as a client sees them, by the one rule. */
export class PresenceReader {
  present = new Set<string>()
  /** All events that it received. */
  readonly received: Omit<ChatEvent<'presence'>, 'type' | 'chatId'>[] = []
  /** Violations of the guarantees. */
  readonly faults: string[] = []

  /** Takes what is new of an event. Returns whether it is about presence. */
  take ({ event, id, data }: StreamEvent): boolean {
    if (event !== 'presence') return false
    const { type, chatId, ...presence } = data as ChatEvent<'presence'>
    const { users, joined = [], left = [] } = presence
    this.received.push(presence)
    if (id !== undefined) this.faults.push(`${chatId}: ${type} with the id ${id}`)
    if ((users !== undefined) !== (this.received.length === 1)) {
      this.faults.push('a snapshot that does not come first, or none')
    }
    if (users !== undefined) this.present = new Set(users)
    for (const user of joined) if (this.present.has(user)) this.faults.push(`${user} has joined twice`)
    for (const user of left) if (!this.present.has(user)) this.faults.push(`${user} has left twice`)
    for (const user of joined) this.present.add(user)
    for (const user of left) this.present.delete(user)
    return true
  }

  get users (): string[] {
    return [...this.present].sort()
  }

  /** Reads until these are here. */
  async until (stream: EventStream, users: string[]): Promise<void> {
    while (this.users.join() !== users.join()) this.take(await stream.next())
  }
}
