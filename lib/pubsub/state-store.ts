import { ListenerMap } from '../core/listeners.ts'
import type { Logger } from '../core/logger.ts'
import { logRepeated, originOf, type RepeatedFailure } from '../observability/repeated-failure.ts'
import type { PublishReceipt } from './provider.ts'

/**
 * A version of a channel's state. Each change increments `count`. A state that replaces a lost one has a new epoch.
 */
export interface StateVersion {
  epoch: string
  count: number
}

/** One stored field: a value, or a draft. */
export interface Field {
  /** The value, or the header of a draft. */
  value: string
  /** Absent for a value, which is deleted when its lease expires. A draft stays until it is finalized. */
  draft?: Draft | undefined
  /** Whether the lease of the draft has expired. */
  expired: boolean
}

/**
 * Content that grows piece by piece, until an event replaces it. The store knows nothing of its format: it joins the
 * pieces, and the owner says how long the content is with each of them.
 */
export interface Draft {
  /** The length of the content, in units that its owner chooses. */
  length: number
  /** All pieces, joined. `undefined` if they are long: `readDraft` then reads them in pages. */
  content: string | undefined
}

/** A part of the content of a draft, from position `at` to position `end`. */
export interface Piece { at: number, end: number, content: string }

/** The kinds of changes: a value is set, a draft is opened or appended to, a field is deleted, a lease expires. */
export type StateOperation = 'set' | 'open' | 'append' | 'delete' | 'expire'

/** One change, as listeners receive it. */
export interface StateChange {
  /** The version after the change. If it does not directly follow the last known version, changes were missed. */
  version: StateVersion
  operation: StateOperation
  field: string
  /** The value, or the header of an opened draft. */
  value: string
  /** The piece that was appended. */
  piece?: Piece | undefined
}

/** The type of a function that is called with each change of a state. */
export type StateListener = (change: StateChange) => void

/**
 * A change that an owner requests. `leaseMs` is the lease in milliseconds from now. `owner` is a unique name: only the
 * owner of a draft may append to it.
 */
export type StateRequest =
  | { operation: 'set', field: string, value: string, leaseMs: number }
  /**
   * Opens an empty draft with a header, unless one was finalized with this key. If the owner has opened it already,
   * only its lease is renewed.
   */
  | { operation: 'open', field: string, value: string, leaseMs: number, owner: string, key: string }
  /** Appends a piece to a draft whose length is `piece.at`. */
  | { operation: 'append', field: string, piece: Piece, leaseMs: number, owner: string }
  | { operation: 'delete', field: string }

/**
 * The outcome of a request:
 *
 * - `done`: the change is applied, now or by an earlier request whose reply was lost.
 * - `taken`: the field belongs to another owner.
 * - `over`: the draft was already finalized: an event was published with its key.
 * - `gone`: the field does not exist, it belongs to another owner (`append`), or its lease has expired and that was
 *   broadcast.
 * - `behind`: the length of the draft is not `piece.at`, since Redis has lost some of it.
 */
export type StateOutcome = 'done' | 'taken' | 'over' | 'gone' | 'behind'

/**
 * An outcome, and the epoch of the state. If the epoch has changed, a field that is `gone` may have been lost. `length`
 * is the length of the draft after the request if `open` or `append` is `done`, or `append` is `behind`.
 */
export interface StateReceipt { outcome: StateOutcome, epoch: string, length: number }

/** The result of reading a state. */
export interface StatePage {
  /** `undefined` if the channel never had a state. */
  version: StateVersion | undefined
  /** `undefined` if the reader already knows this version. */
  fields: Map<string, Field> | undefined
  /**
   * Fields whose lease has expired by the clock only. Their owners may still be alive, since the clock has stepped, or
   * no instance has accessed the state for a while.
   */
  doubtful?: ReadonlySet<string> | undefined
}

/** The arguments of `finalize`. */
export interface Finalization {
  field: string
  /** The owner of the draft. Without an owner, the lease of the draft must have expired. */
  owner?: string | undefined
  /** The event that replaces the draft and is appended to the log. */
  event: unknown
  /** Whether the content is kept as long as the log, since the event does not repeat it. */
  keepContent: boolean
  /**
   * A second finalization with the same key publishes nothing. The key never collides with an idempotency key of the
   * app, even if both are the same string.
   */
  key: string
}

/** A part of a draft, or of what is left of a finalized one. */
export interface DraftPage {
  /** The draft, without its content. `undefined` if it was finalized or never existed. */
  field: Field | undefined
  /** The JSON of the event that has replaced the draft, if the log still has it. */
  event: string | undefined
  /**
   * The pieces from a position on, of which the store may have joined some. The first one may begin before it. Empty if
   * there are none or they were lost.
   */
  pieces: Piece[]
}

/**
 * The current state of a channel, beside the log of its past events. A state consists of fields, each with a lease that
 * its owner renews. It is not kept for long, and earlier versions are not kept at all.
 *
 * - Each operation is atomic and idempotent.
 * - Each change is broadcast with its version to the channel's listeners. A listener that missed one reads the state
 *   again.
 * - An expired lease is detected by the next access to the channel's state, and broadcast as `expire`. The time is that
 *   of the store. Between two accesses it advances by at most two seconds, so that a clock step expires no lease that
 *   is being renewed.
 * - After a restart or a failover of Redis, if the fields still exist, all leases restart. Each lasts as long as
 *   before, but at least five seconds.
 */
export interface StateStore {
  /**
   * Whether the store loses nothing that it has acknowledged as long as this process runs. Otherwise the owner of a
   * draft keeps its content, to write it again.
   */
  readonly isLossless: boolean
  /** Changes a field. Rejects as `publish` does. */
  change(channel: string, request: StateRequest): Promise<StateReceipt>
  /**
   * Extends leases to `leaseMs` milliseconds from now. Resolves with the fields that do not exist or have expired.
   * Rejects as `publish` does.
   */
  renew(channel: string, fields: string[], leaseMs: number): Promise<{ gone: string[], epoch: string }>
  /**
   * Publishes an event that replaces a draft and deletes the draft, in one atomic step. If there is no such draft (any
   * more), resolves with only the epoch. Rejects as `publish` does: the draft then still exists, unless an event was
   * published with its key.
   */
  finalize(channel: string, finalization: Finalization): Promise<PublishReceipt | { epoch: string }>
  /** Reads all fields, unless the version is still the `known` one. Rejects with `RT_LOG_UNAVAILABLE`. */
  read(channel: string, known?: StateVersion): Promise<StatePage>
  /**
   * Reads the content of a draft from a position on, at most `budgets.page` bytes of it and at least one piece if there
   * is any. `key` is the key of its finalization. Rejects with `RT_LOG_UNAVAILABLE`.
   */
  readDraft(channel: string, draft: { field: string, key: string }, from: number): Promise<DraftPage>
  /**
   * Calls the listener with each change that arrives. The caller must also follow the channel. Returns a function that
   * unsubscribes.
   */
  watch(channel: string, listener: StateListener): () => void
}

/** A capability of a provider with a log: it also keeps the state of a channel. The log's head holds its version. */
export interface Stateful {
  /** `undefined` if history is turned off. */
  readonly state: StateStore | undefined
}

export function isSameDraft (one: Draft | undefined, other: Draft | undefined): boolean {
  return one?.length === other?.length && one?.content === other?.content
}

export function formatStateVersion ({ epoch, count }: StateVersion): string {
  return `${epoch}-${count}`
}

/** Parses the output of `formatStateVersion`; returns `undefined` for any other text. */
export function parseStateVersion (text: string): StateVersion | undefined {
  const [, epoch, count] = /^([A-Za-z0-9]{1,32})-(\d{1,15})$/.exec(text) ?? []
  return epoch === undefined ? undefined : { epoch, count: Number(count) }
}

const LISTENING: RepeatedFailure = { level: 'error', message: 'A listener of the state of a channel failed' }

/** Creates the listeners of a state store, by channel. */
export function stateListeners (log: Logger): ListenerMap<StateListener> {
  return new ListenerMap((err, channel) => logRepeated(log, LISTENING, { channel, err }, originOf(err)))
}
