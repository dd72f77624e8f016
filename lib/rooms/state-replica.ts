import type { Field, StateVersion, StateChange, StatePage, StateStore } from '../pubsub/state-store.ts'
import { HeldBuffer } from './held-buffer.ts'
import type { ReadGate } from './read-gate.ts'
import { budgets } from '../core/budgets.ts'
import { timing } from '../core/timing.ts'

/** What a mirror tells its owner. */
export interface StateReplicaEvents {
  /** A field differs from what was told of it before. `before` or `after` is `undefined` where there is none: both, where one that was forgotten is gone by now. */
  field (name: string, after: Field | undefined, before: Field | undefined): void
  /** There is no state any more. */
  vanished (): void
  /** The state could not be read; it is tried again. */
  failed (error: Error): void
}

/**
 * The state of a channel as this instance knows it: read once for all who are here, then kept by the changes that are broadcast. A change
 * is applied only if it follows the one before; whoever else knows where the state is (the log does) says so with `syncTo`. A channel without a
 * state costs nothing.
 */
export class StateReplica {
  readonly #channel: string
  readonly #store: StateStore
  readonly #gate: ReadGate
  readonly #events: StateReplicaEvents
  readonly #unwatch: () => void
  readonly #fields = new Map<string, Field>()
  /** What was told, then forgotten, and not told anew yet. */
  readonly #forgotten = new Set<string>()
  #version: StateVersion | undefined
  readonly #held = new HeldBuffer<StateChange>()
  #again = false
  /** What must be known after the reading that goes on. */
  #wanted: StateVersion | undefined
  #reading = false
  #retry: NodeJS.Timeout | undefined
  #closed = false

  constructor (channel: string, store: StateStore, gate: ReadGate, events: StateReplicaEvents) {
    this.#channel = channel
    this.#store = store
    this.#gate = gate
    this.#events = events
    this.#unwatch = store.watch(channel, (change) => this.#receive(change))
  }

  /** All that was told. */
  get fields (): ReadonlyMap<string, Field> {
    return this.#fields
  }

  /** Reads the state if it is not, or not only, what is known here. */
  syncTo (version: StateVersion | undefined): void {
    if (version === undefined || this.#covers(version)) return
    // Which of the two is later can't be told.
    if (this.#wanted !== undefined) this.#again = true
    this.#wanted = version
    this.#read()
  }

  /** Forgets all that was told, so that it is told anew. */
  forget (): void {
    if (this.#fields.size === 0) return
    for (const name of this.#fields.keys()) this.#forgotten.add(name)
    this.#fields.clear()
    this.#version = undefined
    this.#again = true
    this.#read()
  }

  /** Reads the state where there is one, now and then: what was broadcast last can be lost, and leases run out while nobody does anything. */
  poll (): void {
    if (this.#fields.size > 0) this.#read()
  }

  close (): void {
    this.#closed = true
    this.#unwatch()
    clearTimeout(this.#retry)
  }

  #receive (change: StateChange): void {
    if (!this.#reading && this.#apply(change)) return
    if (!this.#held.add(change, change.value.length)) this.#again = true
    this.#read()
  }

  /** Reads the state, and once more where that turns out to be needed. */
  async #read (): Promise<void> {
    if (this.#reading) return
    this.#reading = true
    clearTimeout(this.#retry)
    try {
      do {
        this.#again = false
        this.#wanted = undefined
        const known = this.#version
        const page = await this.#readPage(known)
        if (this.#closed) return
        // Forgotten meanwhile: it may say no more than that nothing has changed.
        if (known === this.#version) this.#replace(page)
        // In the same turn: what comes before is held, and after it nobody looks there.
        this.#applyHeld()
        // What was read may be older than what somebody has heard of since.
      } while (this.#again || (this.#wanted !== undefined && !this.#covers(this.#wanted)))
    } catch (error) {
      if (!this.#closed) this.#tryLater(error as Error)
    }
    this.#reading = false
  }

  /** Few states are read at the same time, since each comes as one reply. Its size counts as that of a page: it is not known before. */
  async #readPage (known: StateVersion | undefined): Promise<StatePage> {
    const entered = this.#gate.enter(budgets.clientPage)
    if (entered !== undefined) await entered
    try {
      return await this.#store.read(this.#channel, known)
    } finally {
      this.#gate.leave(budgets.clientPage)
    }
  }

  #tryLater (error: Error): void {
    this.#events.failed(error)
    this.#retry = setTimeout(() => this.#read(), timing.resyncRetry).unref()
  }

  #replace ({ version, fields }: StatePage): void {
    const isVanished = version === undefined && this.#version !== undefined
    this.#version = version
    if (fields === undefined) return
    for (const name of this.#fields.keys()) if (!fields.has(name)) this.#update(name, undefined)
    for (const [name, field] of fields) this.#update(name, field)
    for (const name of this.#forgotten) if (!fields.has(name)) this.#events.field(name, undefined, undefined)
    this.#forgotten.clear()
    if (isVanished) this.#events.vanished()
  }

  #applyHeld (): void {
    for (const change of this.#held.take()) if (!this.#apply(change)) this.#again = true
  }

  /** Applies a change if it comes next. Returns whether it is known, now or before. */
  #apply ({ version, operation, field, value }: StateChange): boolean {
    if (this.#covers(version)) return true
    // Before its first change a state is empty.
    if (version.count === 1 && version.epoch !== this.#version?.epoch) this.#replace({ version: { ...version, count: 0 }, fields: new Map() })
    if (!this.#covers({ ...version, count: version.count - 1 })) return false
    const before = this.#fields.get(field)
    // It is told of a field that is there, or all before it was not told here.
    if (operation === 'set' || operation === 'open') this.#update(field, { value, text: operation === 'open', expired: false })
    else if (operation === 'append' && before !== undefined) this.#update(field, { ...before, value: before.value + value })
    else if (operation === 'expire' && before?.text === true) this.#update(field, { ...before, expired: true })
    else this.#update(field, undefined)
    this.#version = version
    return true
  }

  #covers ({ epoch, count: version }: StateVersion): boolean {
    return this.#version?.epoch === epoch && version <= this.#version.count
  }

  #update (name: string, after: Field | undefined): void {
    const before = this.#fields.get(name)
    if (before === after || (before?.value === after?.value && before?.text === after?.text && before?.expired === after?.expired)) return
    if (after === undefined) this.#fields.delete(name)
    else this.#fields.set(name, after)
    this.#events.field(name, after, before)
  }
}
