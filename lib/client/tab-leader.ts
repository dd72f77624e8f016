import { LONGEST_TIMER } from './backoff.ts'
import { readMessage, type Message, type TabChats } from './tab-message.ts'

/** The part of the Web Locks API that is used here. Stealing a lock rejects the promise of the tab that held it. */
export interface Locks {
  request (name: string, options: LockOptions, granted: () => Promise<void>): Promise<unknown>
}

/** Either `signal` or `steal`: the API does not allow both. */
interface LockOptions { signal?: AbortSignal, steal?: boolean }

interface TabsEvents {
  /** This tab is the leader from now on: it holds the connections. */
  lead (): void
  /** Another tab has taken the lead, since this one did not respond. */
  follow (): void
  /** Another tab has changed its chats, or has ended. `joined` is a chat that it has just opened. */
  chatsChanged (joined?: string): void
  /** This tab must send its chats to the leader. */
  chatsRequested (): void
  /** Another tab has sent any other message. */
  message (message: Message): void
}

/**
 * The number of steps of the silence timeout for a leader. In the second half of them this tab asks the leader to
 * respond.
 */
const STEPS = 4

/** Joins the tabs of this name. Returns `undefined` without Web Locks, or if the page may not use storage. */
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
 * The tabs of a browser that share connections: one leads, the others follow. The leader holds a lock, so that the next
 * tab takes the lead when the leader ends. A leader may also hang while it holds the lock. So a tab that receives
 * nothing from the leader asks it to respond, and steals the lock if there is no response.
 */
export class Tabs {
  /** The chats of each other tab, kept by the leader. */
  readonly chatsByTab = new Map<string, TabChats>()
  readonly #name: string
  readonly #locks: Locks
  readonly #events: TabsEvents
  readonly #channel: InstanceType<typeof BroadcastChannel>
  readonly #tab = crypto.randomUUID()
  readonly #closed = new AbortController()
  /** Resolves once this tab holds its own lock, which shows other tabs that it is alive. */
  readonly #alive: Promise<void>
  readonly #watchdog: ReturnType<typeof setInterval>
  #leads = false
  /** The last known leader. Messages from any other tab are stale: that tab led before and has hung meanwhile. */
  #leader: string | undefined
  /** The number of steps for which the leader has been silent. */
  #silent = 0
  /** Whether this tab has open chats. */
  #hasChats = false

  constructor (name: string, locks: Locks, silenceMs: number, events: TabsEvents) {
    this.#name = name
    this.#locks = locks
    this.#events = events
    this.#channel = new BroadcastChannel(name)
    this.#channel.onmessage = (event: unknown) => this.#receive((event as { data: unknown }).data)
    // Held for the lifetime of this tab, so that the leader notices its end, even after a crash.
    this.#alive = new Promise((resolve) => this.#hold(`${name} ${this.#tab}`, resolve, resolve))
    this.#contend()
    // With jitter, so that the tabs do not act all at once.
    const stepMs = silenceMs / STEPS * (1 + Math.random() / STEPS)
    this.#watchdog = setInterval(() => this.#watch(), Math.min(stepMs, LONGEST_TIMER))
  }

  get leads (): boolean {
    return this.#leads
  }

  notify (message: Message): void {
    if (!this.#closed.signal.aborted) this.#channel.postMessage({ ...message, from: this.#tab })
  }

  /** Sends the leader the chats of this tab. */
  sendChats (chats: TabChats, joined?: string): void {
    this.#hasChats = Object.keys(chats).length > 0
    this.#alive.then(() => this.notify({ type: 'want', wanted: chats, joined }))
  }

  close (): void {
    this.#closed.abort()
    this.#channel.close()
    clearInterval(this.#watchdog)
  }

  /**
   * Queues for the lock, or steals it. A tab that steals the lock also stays in the queue, in case another tab steals
   * it afterwards.
   */
  #contend (steal = false): void {
    this.#hold(this.#name, () => this.#lead(), () => {
      // A page that may not use storage has no locks, so it opens connections of its own.
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
    this.chatsByTab.clear()
    this.#events.follow()
  }

  #watch (): void {
    this.#silent = this.#leads || !this.#hasChats ? 0 : this.#silent + 1
    if (this.#silent > STEPS) {
      this.#silent = 0
      this.#contend(true)
    } else if (this.#silent > STEPS / 2) {
      // The followers ask, instead of the leader sending heartbeats: a hidden tab gets messages at once, but its timers
      // may be late.
      this.#events.chatsRequested()
    }
  }

  #receive (data: unknown): void {
    const message = readMessage(data)
    if (message === undefined) return
    const { type, from } = message
    if (type === 'want') {
      if (this.#leads) this.#takeChats(from, message)
      return
    }
    if (type === 'reconnect') return this.#events.message(message)
    if (type === 'lead') this.#leader = from
    this.#leader ??= from
    if (this.#leader !== from) return
    this.#silent = 0
    if (type === 'lead') this.#events.chatsRequested()
    else this.#events.message(message)
  }

  #takeChats (tab: string, { wanted, joined }: Message & { type: 'want' }): void {
    const known = this.chatsByTab.has(tab)
    this.chatsByTab.set(tab, wanted)
    this.#events.chatsChanged(joined)
    if (known) return
    this.#request(`${this.#name} ${tab}`, async () => {
      this.chatsByTab.delete(tab)
      this.#events.chatsChanged()
    })
  }

  /**
   * Acquires a lock when it is free, or steals it at once, and holds it until `close`. Calls `lost` if the lock can't
   * be acquired, or is stolen.
   */
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
    // The request also rejects if this is closed before the lock is granted. The API allows no signal with `steal`.
    this.#locks.request(name, steal ? { steal } : { signal }, granted)
      .catch(() => { if (!signal.aborted) failed?.() })
  }
}
