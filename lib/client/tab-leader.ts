import { LONGEST_TIMER } from './backoff.ts'
import { whenAborted } from './listen.ts'
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
  /** Another tab has changed its chats, or has ended. `joined` is a chat that it has just opened. */
  chatsChanged (joined?: string): void
  /** This tab must send its chats to the leader. */
  chatsRequested (): void
  /** Another tab has sent any other message. */
  message (message: Message): void
}

/**
 * The silence timeout of a leader is divided into this many steps. In the second half of them, this tab asks the leader
 * to respond.
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
  readonly #tabId = crypto.randomUUID()
  readonly #closed = new AbortController()
  /** Resolves once this tab holds a lock of its own, by which the leader notices its end, even after a crash. */
  readonly #ownLockHeld: Promise<void>
  readonly #leaderTimer: ReturnType<typeof setInterval>
  #isLeader = false
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
    this.#ownLockHeld = new Promise((resolve) => this.#holdLock(`${name} ${this.#tabId}`, resolve, resolve))
    this.#queueForLead()
    // With jitter, so that the tabs do not act all at once.
    const stepMs = silenceMs / STEPS * (1 + Math.random() / STEPS)
    this.#leaderTimer = setInterval(() => this.#checkLeader(), Math.min(stepMs, LONGEST_TIMER))
  }

  get isLeader (): boolean {
    return this.#isLeader
  }

  notify (message: Message): void {
    if (!this.#closed.signal.aborted) this.#channel.postMessage({ ...message, from: this.#tabId })
  }

  /** Sends the leader the chats of this tab. */
  sendChats (chats: TabChats, joined?: string): void {
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
    this.#holdLock(this.#name, () => this.#becomeLeader(), () => {
      // A page that may not use storage has no locks, so it opens connections of its own.
      if (!this.#isLeader) return this.#becomeLeader()
      this.#becomeFollower()
      if (!steal) this.#queueForLead()
    }, steal)
  }

  #becomeLeader (): void {
    this.#isLeader = true
    this.notify({ type: 'lead' })
    this.#events.elected()
  }

  #becomeFollower (): void {
    this.#isLeader = false
    this.chatsByTab.clear()
    this.#events.replaced()
  }

  #checkLeader (): void {
    this.#silentSteps = this.#isLeader || !this.#hasChats ? 0 : this.#silentSteps + 1
    if (this.#silentSteps > STEPS) {
      this.#silentSteps = 0
      this.#queueForLead(true)
    } else if (this.#silentSteps > STEPS / 2) {
      // Followers ask, instead of the leader sending heartbeats: a hidden tab gets messages at once, but its timers
      // may be late.
      this.#events.chatsRequested()
    }
  }

  #receive (data: unknown): void {
    const message = readMessage(data)
    if (message === undefined) return
    const { type, from } = message
    if (type === 'want') {
      if (this.#isLeader) this.#receiveChats(from, message)
      return
    }
    if (type === 'reconnect') return this.#events.message(message)
    if (type === 'lead') this.#leaderId = from
    this.#leaderId ??= from
    if (this.#leaderId !== from) return
    this.#silentSteps = 0
    if (type === 'lead') this.#events.chatsRequested()
    else this.#events.message(message)
  }

  #receiveChats (tabId: string, { wanted, joined }: Message & { type: 'want' }): void {
    const isKnown = this.chatsByTab.has(tabId)
    this.chatsByTab.set(tabId, wanted)
    this.#events.chatsChanged(joined)
    if (isKnown) return
    // The lock that a tab holds is free once the tab has ended.
    this.#requestLock(`${this.#name} ${tabId}`, async () => {
      this.chatsByTab.delete(tabId)
      this.#events.chatsChanged()
    })
  }

  /**
   * Acquires a lock when it is free, or steals it at once, and holds it until `close`. Calls `lost` if the lock can't
   * be acquired, or is stolen.
   */
  #holdLock (name: string, acquired: () => void, lost: () => void, steal = false): void {
    const { signal } = this.#closed
    this.#requestLock(name, async () => {
      if (signal.aborted) return
      acquired()
      await new Promise<void>((resolve) => whenAborted(signal, resolve))
    }, lost, steal)
  }

  #requestLock (name: string, acquired: () => Promise<void>, failed?: () => void, steal = false): void {
    const { signal } = this.#closed
    // The request also rejects if this is closed before the lock is acquired. The API allows no signal with `steal`.
    this.#locks.request(name, steal ? { steal } : { signal }, acquired)
      .catch(() => { if (!signal.aborted) failed?.() })
  }
}
