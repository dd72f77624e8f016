import {
  isSameDraft,
  type Draft, type Field, type Piece, type StateVersion, type StateChange, type StatePage, type StateStore
} from '../pubsub/state-store.ts'
import { HeldBuffer } from './held-buffer.ts'
import type { ReadGate } from './read-gate.ts'
import { budgets } from '../core/budgets.ts'
import { timing } from '../core/timing.ts'

/** What a replica reports to its owner. */
export interface StateReplicaEvents {
  /**
   * A field differs from its last reported value. `before` or `after` is `undefined` if the field did not exist then.
   * Both are `undefined` if the field was removed after `forget`, before it was reported again. `piece` is what was
   * appended to a draft, unless the state had to be read again.
   */
  field (name: string, after: Field | undefined, before: Field | undefined, piece?: Piece): void
  /** The whole state has vanished. */
  vanished (): void
  /** The state could not be read; the read is retried. */
  readFailed (error: Error): void
}

interface Reading {
  readonly name: 'reading'
  /** True if the state must be read again after this read. */
  mustRepeat: boolean
  /** The version that the replica must have reached when this read ends. */
  wanted: StateVersion | undefined
}

type State =
  | { readonly name: 'idle' }
  | Reading
  /** The last read failed, and is retried. */
  | { readonly name: 'failed', readonly retry: NodeJS.Timeout }
  | { readonly name: 'closed' }

const IDLE: State = { name: 'idle' }

const NO_FIELDS: ReadonlyMap<string, Field> = new Map()

/**
 * This instance's copy of a channel's state. It is read once for all streams, then updated by the changes that are
 * broadcast. A change is applied only if it follows the previous one; otherwise the state is read again. A read of the
 * log also returns the version of the state, which is passed to `syncTo`. A channel without a state is never read.
 */
export class StateReplica {
  readonly #channel: string
  readonly #store: StateStore
  readonly #gate: ReadGate
  readonly #events: StateReplicaEvents
  readonly #unwatch: () => void
  /** `undefined` until there is a field: most chats have no state. */
  #fields: Map<string, Field> | undefined
  /** Names of fields that were reported and then forgotten, and are not reported again yet. */
  #forgotten: Set<string> | undefined
  #version: StateVersion | undefined
  readonly #held = new HeldBuffer<StateChange>()
  #state: State = IDLE

  constructor (channel: string, store: StateStore, gate: ReadGate, events: StateReplicaEvents) {
    this.#channel = channel
    this.#store = store
    this.#gate = gate
    this.#events = events
    this.#unwatch = store.watch(channel, (change) => this.#receive(change))
  }

  /** All fields that were reported. */
  get fields (): ReadonlyMap<string, Field> {
    return this.#fields ?? NO_FIELDS
  }

  /** Reads the state, unless the replica already includes `version`. */
  syncTo (version: StateVersion | undefined): void {
    if (version === undefined || this.#covers(version)) return
    const state = this.#state
    if (state.name === 'reading') {
      // A version is wanted already. Their order is unknown, so read again.
      if (state.wanted !== undefined) state.mustRepeat = true
      state.wanted = version
    }
    this.#read()
  }

  /** Forgets all fields, so that they are read and reported again. */
  forget (): void {
    if (this.fields.size === 0) return
    this.#forgotten = new Set([...this.#forgotten ?? [], ...this.fields.keys()])
    this.#fields = undefined
    this.#version = undefined
    if (this.#state.name === 'reading') this.#state.mustRepeat = true
    this.#read()
  }

  /**
   * Reads the state if there is one. Called regularly, since the last broadcast can be lost, and leases expire without
   * a broadcast.
   */
  poll (): void {
    if (this.fields.size > 0) this.#read()
  }

  close (): void {
    this.#unwatch()
    this.#to({ name: 'closed' })
  }

  /** The only place that changes the state. A closed replica stays closed. */
  #to (state: State): void {
    if (this.#state.name === 'closed') return
    if (this.#state.name === 'failed') clearTimeout(this.#state.retry)
    this.#state = state
  }

  #receive (change: StateChange): void {
    const state = this.#state
    if (state.name !== 'reading' && this.#apply(change)) return
    const isHeld = this.#held.add(change, change.value.length + (change.piece?.content.length ?? 0))
    if (state.name === 'reading' && !isHeld) state.mustRepeat = true
    this.#read()
  }

  /** Reads the state, unless a read is in progress. */
  #read (): void {
    const { name } = this.#state
    if (name === 'idle' || name === 'failed') this.#readUntilCurrent()
  }

  /** Reads the state, and repeats that until nothing is known to be missing. */
  async #readUntilCurrent (): Promise<void> {
    const reading: Reading = { name: 'reading', mustRepeat: false, wanted: undefined }
    this.#to(reading)
    try {
      do {
        reading.mustRepeat = false
        reading.wanted = undefined
        const known = this.#version
        const page = await this.#readPage(known)
        if (this.#state !== reading) return // Closed meanwhile.
        // If `forget` was called meanwhile, drop the page: it may only say that nothing has changed since `known`.
        if (known === this.#version) this.#replace(page)
        // No await between this and `idle`: a change received in between would stay in the buffer.
        this.#applyHeld(reading)
        // The page may be older than a version that `syncTo` got meanwhile.
      } while (reading.mustRepeat || (reading.wanted !== undefined && !this.#covers(reading.wanted)))
      this.#to(IDLE)
    } catch (error) {
      if (this.#state === reading) this.#tryLater(error as Error)
    }
  }

  /** Reads through the gate of the instance. The size of a state is not known before, so it counts as a large one. */
  #readPage (known: StateVersion | undefined): Promise<StatePage> {
    return this.#gate.runWhenFree(budgets.drafts, () => this.#store.read(this.#channel, known))
  }

  #tryLater (error: Error): void {
    this.#events.readFailed(error)
    this.#to({ name: 'failed', retry: setTimeout(() => this.#read(), timing.resyncRetry).unref() })
  }

  #replace ({ version, fields }: StatePage): void {
    const isVanished = version === undefined && this.#version !== undefined
    this.#version = version
    if (fields === undefined) return
    for (const name of this.fields.keys()) if (!fields.has(name)) this.#update(name, undefined)
    for (const [name, field] of fields) this.#update(name, withKnownContent(field, this.fields.get(name)))
    for (const name of this.#forgotten ?? []) if (!fields.has(name)) this.#events.field(name, undefined, undefined)
    this.#forgotten = undefined
    if (isVanished) this.#events.vanished()
  }

  #applyHeld (reading: Reading): void {
    for (const change of this.#held.takeAll()) if (!this.#apply(change)) reading.mustRepeat = true
  }

  /** Applies a change if it comes next. Returns true if it is included, now or before. */
  #apply (change: StateChange): boolean {
    const { version, operation, field, piece } = change
    if (this.#covers(version)) return true
    // The first change of a new state: before it, that state was empty.
    if (version.count === 1 && version.epoch !== this.#version?.epoch) {
      this.#replace({ version: { ...version, count: 0 }, fields: new Map() })
    }
    if (!this.#covers({ ...version, count: version.count - 1 })) return false
    const before = this.fields.get(field)
    // The store has lost a part of the draft, and its owner writes that part again.
    if (operation === 'append' && before?.draft?.length !== piece?.at) return false
    this.#update(field, fieldAfter(change, before), piece)
    this.#version = version
    return true
  }

  /** True if the replica includes the changes up to a version. */
  #covers ({ epoch, count }: StateVersion): boolean {
    return this.#version?.epoch === epoch && count <= this.#version.count
  }

  /** Sets or deletes a field, and reports it if it differs. */
  #update (name: string, after: Field | undefined, piece?: Piece): void {
    const before = this.fields.get(name)
    if (isSame(before, after)) return
    const fields = this.#fields ??= new Map()
    if (after === undefined) fields.delete(name)
    else fields.set(name, after)
    this.#events.field(name, after, before, piece)
  }
}

/** Returns the field after a change; `undefined` if the change deletes it. */
function fieldAfter ({ operation, value, piece }: StateChange, before: Field | undefined): Field | undefined {
  switch (operation) {
    case 'set': return { value, expired: false }
    case 'open': return { value, draft: { length: 0, content: '' }, expired: false }
    // A piece is only applied to a draft: see `#apply`.
    case 'append': return { ...before as Field, draft: extended(before?.draft as Draft, piece as Piece) }
    case 'expire': return before?.draft && { ...before, expired: true }
    case 'delete': return undefined
  }
}

/** Returns a draft with one more piece. The content of a long draft is not kept. */
function extended ({ content }: Draft, piece: Piece): Draft {
  const joined = content === undefined ? undefined : content + piece.content
  return { length: piece.end, content: joined !== undefined && isShort(joined) ? joined : undefined }
}

/** Whether a content takes at most `budgets.draft`. */
function isShort (content: string): boolean {
  if (content.length > budgets.draft) return false
  // A code unit takes at most three bytes.
  return content.length * 3 <= budgets.draft || Buffer.byteLength(content) <= budgets.draft
}

/** Returns a field with the content that is known here, if the store did not return it: it may have lost it. */
function withKnownContent (after: Field, before: Field | undefined): Field {
  const { draft } = after
  if (draft === undefined || draft.content !== undefined || draft.length !== before?.draft?.length) return after
  return { ...after, draft: before.draft }
}

function isSame (one: Field | undefined, other: Field | undefined): boolean {
  if (one === undefined || other === undefined) return one === other
  return one.value === other.value && one.expired === other.expired && isSameDraft(one.draft, other.draft)
}
