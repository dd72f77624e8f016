import type { Delivery } from './delivery.ts'
import type { Refusal } from './refusal.ts'
import type { FeedState } from './feed.ts'

/** The part of the Web Locks of browsers that is used here. */
export interface Locks {
  request (name: string, options: { signal: AbortSignal }, granted: () => Promise<void>): Promise<unknown>
}

/** The places that a tab has in the chats that it wants. */
export type Wanted = Record<string, string | undefined>

/** What tabs tell each other. Only the one that leads tells of events, states and errors; the others say what they want. */
export type Message =
  | { type: 'lead' }
  | { type: 'want', tab: string, wanted: Wanted, joined?: string | undefined }
  | { type: 'event', delivery: Delivery }
  | { type: 'state', state: FeedState }
  | { type: 'refused', refusal: Refusal }
  | { type: 'reconnect' }

export interface TabsEvents {
  /** From now on this tab has the connection. */
  lead (): void
  /** Another tab wants other chats than before, or is gone. `joined` is a chat that it has just opened. */
  wanted (joined?: string): void
  /** The tab that leads asks what the others want. */
  asked (): void
  /** Another tab has told something else. */
  told (message: Message): void
}

/** The locks of this browser. One that has them has broadcast channels, too. */
export function findLocks (): Locks | undefined {
  const { navigator } = globalThis as { navigator?: { locks?: Locks } }
  return navigator?.locks
}

/** The tabs of a browser that share a connection: one leads, and when it is gone another one does. */
export class Tabs {
  /** What each of the others wants, kept by the one that leads. */
  readonly wants = new Map<string, Wanted>()
  readonly #name: string
  readonly #locks: Locks
  readonly #events: TabsEvents
  readonly #channel: InstanceType<typeof BroadcastChannel>
  readonly #tab = crypto.randomUUID()
  readonly #closed = new AbortController()
  /** Resolves once it can be told from one that has ended. */
  readonly #alive: Promise<void>
  #leads = false

  constructor (name: string, locks: Locks, events: TabsEvents) {
    this.#name = name
    this.#locks = locks
    this.#events = events
    this.#channel = new BroadcastChannel(name)
    this.#channel.onmessage = (event: unknown) => this.#receive((event as { data: Message }).data)
    // Held for as long as this tab lives: so the one that leads is told of its end, however it comes.
    this.#alive = new Promise((resolve) => this.#hold(`${name} ${this.#tab}`, resolve, resolve))
    const lead = (): void => {
      this.#leads = true
      this.tell({ type: 'lead' })
      events.lead()
    }
    // A page that has no storage has no locks: it has a connection of its own.
    this.#hold(name, lead, lead)
  }

  get leads (): boolean {
    return this.#leads
  }

  tell (message: Message): void {
    if (!this.#closed.signal.aborted) this.#channel.postMessage(message)
  }

  want (wanted: Wanted, joined?: string): void {
    this.#alive.then(() => this.tell({ type: 'want', tab: this.#tab, wanted, joined }))
  }

  close (): void {
    this.#closed.abort()
    this.#channel.close()
  }

  #receive (message: Message): void {
    if (message.type === 'lead') this.#events.asked()
    else if (message.type !== 'want') this.#events.told(message)
    else if (this.#leads) this.#wanted(message)
  }

  #wanted ({ tab, wanted, joined }: Message & { type: 'want' }): void {
    const known = this.wants.has(tab)
    this.wants.set(tab, wanted)
    this.#events.wanted(joined)
    if (known) return
    this.#request(`${this.#name} ${tab}`, async () => {
      this.wants.delete(tab)
      this.#events.wanted()
    })
  }

  /** Takes a lock when it is free, and keeps it until it is closed. */
  #hold (name: string, granted: () => void, failed: () => void): void {
    const { signal } = this.#closed
    this.#request(name, async () => {
      granted()
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    }, failed)
  }

  #request (name: string, granted: () => Promise<void>, failed?: () => void): void {
    const { signal } = this.#closed
    // It rejects when this is closed before it is granted, too.
    this.#locks.request(name, { signal }, granted).catch(() => { if (!signal.aborted) failed?.() })
  }
}
