import { readMessage, type Message, type TabChats } from './tab-message.ts'

/** The part of the Web Locks API that is used here. Stealing a lock rejects the promise of the tab that held it. */
export interface Locks {
  request (name: string, options: LockOptions, acquired: () => Promise<void>): Promise<unknown>
}

/** Either `signal` or `steal`: the API does not allow both. */
interface LockOptions { signal?: AbortSignal, steal?: boolean }

interface TabsEvents {
  /** From now on this tab holds the connections. */
  elected (): void
  /** Another tab has taken the lead, since this one did not respond in time. */
  replaced (): void
  /**
   * In the leader: another tab has changed its chats, or has ended. `joined` is a chat that it has just opened. In any
   * other tab: the leader needs the chats of this tab.
   */
  updated (joined?: string): void
  /** Another tab has sent any other message. */
  message (message: Message): void
}

/**
 * The silence timeout of a leader is divided into this many steps. In the second half of them, this tab asks the leader
 * to respond.
 */
const STEPS = 4

/**
 * The tabs of a browser that share connections: one leads, the others follow. The leader holds a lock, so that the next
 * tab takes the lead when the leader ends. A leader may also hang while it holds the lock. So a tab that receives
 * nothing from the leader asks it to respond, and steals the lock if there is no response.
 */
export class Tabs {
  /** The chats of each other tab, kept by the leader. */
  readonly others = new Map<string, TabChats>()
  leads = false
  readonly #name: string
  readonly #locks: Locks
  readonly #events: TabsEvents
  readonly #channel: InstanceType<typeof BroadcastChannel>
  readonly #tabId = crypto.randomUUID()
  readonly #closed = new AbortController()
  /** Resolves at `close`. */
  readonly #end: Promise<void>
  /** Resolves once this tab holds a lock of its own, by which the leader notices its end, even after a crash. */
  readonly #ownLockHeld: Promise<void>
  readonly #leaderTimer: ReturnType<typeof setInterval>
  /** The id of the last known leader. Messages from another one are stale: it led before, and has hung meanwhile. */
  #leaderId: string | undefined
  /** The number of steps without a message from the leader. */
  #silentSteps = 0
  /** Whether this tab has open chats. */
  #hasChats = false

  constructor (name: string, locks: Locks, silenceMs: number, events: TabsEvents) {
    this.#name = name
    this.#locks = locks
    this.#events = events
    this.#channel = new BroadcastChannel(name)
    this.#channel.onmessage = (event: unknown) => this.#receive((event as { data: unknown }).data)
    this.#end = new Promise((resolve) => this.#closed.signal.addEventListener('abort', () => resolve()))
    this.#ownLockHeld = new Promise((resolve) => {
      this.#lock(`${name} ${this.#tabId}`, () => { resolve(); return this.#end }, resolve)
    })
    this.#queueForLead()
    // With jitter, so that the tabs do not act all at once.
    const stepMs = silenceMs / STEPS * (1 + Math.random() / STEPS)
    this.#leaderTimer = setInterval(() => this.#checkLeader(), stepMs)
  }

  notify (message: Message): void {
    if (!this.#closed.signal.aborted) this.#channel.postMessage({ ...message, from: this.#tabId })
  }

  /** Sends the leader the chats of this tab. */
  want (chats: TabChats, joined?: string): void {
    this.#hasChats = Object.keys(chats).length > 0
    this.#ownLockHeld.then(() => this.notify({ type: 'want', wanted: chats, joined }))
  }

  close (): void {
    this.#closed.abort()
    this.#channel.close()
    clearInterval(this.#leaderTimer)
  }

  /**
   * Queues for the lock of the leader, or steals it. A tab that steals the lock also stays in the queue, in case
   * another tab steals it afterwards.
   */
  #queueForLead (steal = false): void {
    this.#lock(this.#name, () => { this.#becomeLeader(); return this.#end }, () => {
      // A page that may not use storage has no locks, so it opens connections of its own.
      if (!this.leads) return this.#becomeLeader()
      this.leads = false
      this.others.clear()
      this.#events.replaced()
      if (!steal) this.#queueForLead()
    }, steal)
  }

  #becomeLeader (): void {
    this.leads = true
    this.notify({ type: 'lead' })
    this.#events.elected()
  }

  #checkLeader (): void {
    this.#silentSteps = this.leads || !this.#hasChats ? 0 : this.#silentSteps + 1
    if (this.#silentSteps > STEPS) {
      this.#silentSteps = 0
      this.#queueForLead(true)
    } else if (this.#silentSteps > STEPS / 2) {
      // Followers ask, instead of the leader sending heartbeats: a hidden tab gets messages at once, but its timers
      // may be late.
      this.#events.updated()
    }
  }

  #receive (data: unknown): void {
    const message = readMessage(data)
    if (!message) return
    const { type, from } = message
    if (type === 'want') {
      if (this.leads) this.#receiveChats(from, message)
      return
    }
    if (type === 'reconnect') return this.#events.message(message)
    if (type === 'lead') this.#leaderId = from
    this.#leaderId ??= from
    if (this.#leaderId !== from) return
    this.#silentSteps = 0
    if (type === 'lead') this.#events.updated()
    else this.#events.message(message)
  }

  #receiveChats (tabId: string, { wanted, joined }: Message & { type: 'want' }): void {
    if (!this.others.has(tabId)) {
      // The lock that a tab holds is free once the tab has ended.
      this.#lock(`${this.#name} ${tabId}`, () => {
        this.others.delete(tabId)
        this.#events.updated()
      })
    }
    this.others.set(tabId, wanted)
    this.#events.updated(joined)
  }

  /**
   * Acquires a lock when it is free, or steals it at once, and holds it until the promise of `acquired` resolves. Calls
   * `lost` if the lock can't be acquired, or is stolen.
   */
  #lock (name: string, acquired: () => void | Promise<void>, lost?: () => void, steal = false): void {
    const { signal } = this.#closed
    // The request also rejects if this is closed before the lock is acquired. The API allows no signal with `steal`.
    this.#locks.request(name, steal ? { steal } : { signal }, async () => { if (!signal.aborted) await acquired() })
      .catch(() => { if (!signal.aborted) lost?.() })
  }
}
