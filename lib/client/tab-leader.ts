import { LONGEST_TIMER } from './connection.ts'
import { readMessage, type Message, type Wanted } from './tab-message.ts'

/** The part of the Web Locks of browsers that is used here. Stealing a lock rejects the promise of the tab that had it. */
export interface Locks {
  request (name: string, options: LockOptions, granted: () => Promise<void>): Promise<unknown>
}

/** One of the two. */
export interface LockOptions { signal?: AbortSignal, steal?: boolean }

export interface TabsEvents {
  /** From now on this tab has the connections. */
  lead (): void
  /** Another tab has taken over, since this one did not answer. */
  follow (): void
  /** Another tab wants other chats than before, or has ended. `joined` is a chat that it has just opened. */
  wanted (joined?: string): void
  /** The leading tab must be sent what this one wants. */
  asked (): void
  /** Another tab has written something else. */
  message (message: Message): void
}

/** In how many steps the silence of a leading tab is measured. In the second half of them it is asked for an answer. */
const STEPS = 4

/** Joins the tabs of this name. Returns `undefined` without Web Locks, or where the page may not use its storage. */
export function joinTabs (name: string, silenceMs: number, events: TabsEvents): Tabs | undefined {
  const { navigator } = globalThis as { navigator?: { locks?: Locks } }
  if (navigator?.locks === undefined) return undefined
  try {
    return new Tabs(name, navigator.locks, silenceMs, events)
  } catch {
    return undefined
  }
}

/**
 * The tabs of a browser that share connections: one leads, the others follow. The leading tab holds a lock, so that the next
 * one leads when it has ended. It may also hang while it holds the lock. So a tab that hears nothing from it asks, and takes the
 * lock if there is no answer.
 */
export class Tabs {
  /** What each of the other tabs wants, kept by the leading one. */
  readonly wants = new Map<string, Wanted>()
  readonly #name: string
  readonly #locks: Locks
  readonly #events: TabsEvents
  readonly #channel: InstanceType<typeof BroadcastChannel>
  readonly #tab = crypto.randomUUID()
  readonly #closed = new AbortController()
  /** Resolves once other tabs can see that this one has not ended. */
  readonly #alive: Promise<void>
  readonly #watchdog: ReturnType<typeof setInterval>
  #leads = false
  /** The tab that leads, as far as this one has heard. What comes from another one is late: it has hung meanwhile. */
  #leader: string | undefined
  /** How many steps the leading tab has been silent for. */
  #silent = 0
  #wants = false

  constructor (name: string, locks: Locks, silenceMs: number, events: TabsEvents) {
    this.#name = name
    this.#locks = locks
    this.#events = events
    this.#channel = new BroadcastChannel(name)
    this.#channel.onmessage = (event: unknown) => this.#receive((event as { data: unknown }).data)
    // Held for as long as this tab lives: so the leading one notices its end, however it comes.
    this.#alive = new Promise((resolve) => this.#hold(`${name} ${this.#tab}`, resolve, resolve))
    this.#contend()
    // Not all tabs at once.
    const stepMs = silenceMs / STEPS * (1 + Math.random() / STEPS)
    this.#watchdog = setInterval(() => this.#watch(), Math.min(stepMs, LONGEST_TIMER))
  }

  get leads (): boolean {
    return this.#leads
  }

  notify (message: Message): void {
    if (!this.#closed.signal.aborted) this.#channel.postMessage({ ...message, from: this.#tab })
  }

  want (wanted: Wanted, joined?: string): void {
    this.#wants = Object.keys(wanted).length > 0
    this.#alive.then(() => this.notify({ type: 'want', wanted, joined }))
  }

  close (): void {
    this.#closed.abort()
    this.#channel.close()
    clearInterval(this.#watchdog)
  }

  /** Waits for its turn to lead, or takes the lead. A tab that steals the lock keeps its turn, in case another one does so. */
  #contend (steal = false): void {
    this.#hold(this.#name, () => this.#lead(), () => {
      // A page that may not use its storage has no locks: it has connections of its own.
      if (!this.#leads) return this.#lead()
      this.#follow()
      if (!steal) this.#contend()
    }, steal)
  }

  #lead (): void {
    this.#leads = true
    this.notify({ type: 'lead' })
    this.#events.lead()
  }

  #follow (): void {
    this.#leads = false
    this.wants.clear()
    this.#events.follow()
  }

  #watch (): void {
    this.#silent = this.#leads || !this.#wants ? 0 : this.#silent + 1
    if (this.#silent > STEPS) {
      this.#silent = 0
      this.#contend(true)
    } else if (this.#silent > STEPS / 2) {
      // Asked, rather than writing by itself now and then: a message reaches a hidden tab at once, a timer may take long.
      this.#events.asked()
    }
  }

  #receive (data: unknown): void {
    const message = readMessage(data)
    if (message === undefined) return
    const { type, from } = message
    if (type === 'want') {
      if (this.#leads) this.#wanted(from, message)
      return
    }
    if (type === 'reconnect') return this.#events.message(message)
    if (type === 'lead') this.#leader = from
    this.#leader ??= from
    if (this.#leader !== from) return
    this.#silent = 0
    if (type === 'lead') this.#events.asked()
    else this.#events.message(message)
  }

  #wanted (tab: string, { wanted, joined }: Message & { type: 'want' }): void {
    const known = this.wants.has(tab)
    this.wants.set(tab, wanted)
    this.#events.wanted(joined)
    if (known) return
    this.#request(`${this.#name} ${tab}`, async () => {
      this.wants.delete(tab)
      this.#events.wanted()
    })
  }

  /** Takes a lock when it is free, or at once, and keeps it until `close`. `lost` is called where it can't have or keep it. */
  #hold (name: string, granted: () => void, lost: () => void, steal = false): void {
    const { signal } = this.#closed
    this.#request(name, async () => {
      if (signal.aborted) return
      granted()
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    }, lost, steal)
  }

  #request (name: string, granted: () => Promise<void>, failed?: () => void, steal = false): void {
    const { signal } = this.#closed
    // It rejects when this is closed before it is granted, too. What steals can't be given a signal.
    this.#locks.request(name, steal ? { steal } : { signal }, granted).catch(() => { if (!signal.aborted) failed?.() })
  }
}
