import type { PublishReceipt } from './provider.ts'

/** Which state of a channel it is: the first, after a Redis that lost it, has a new epoch, and each change counts one more. */
export interface StateVersion {
  epoch: string
  count: number
}

/** One field as it is kept. */
export interface Field {
  value: string
  /** Whether it is a text, which outlives its lease until it is finalized. Other values go with their lease. */
  text: boolean
  /** Whether its lease has run out. */
  expired: boolean
}

/** What a change does: sets a value, opens a text, appends to one, deletes a field, or tells that a lease has run out. */
export type StateOperation = 'set' | 'open' | 'append' | 'delete' | 'expire'

/** One change, as those who watch a channel are told of it. */
export interface StateChange {
  /** The state after it. A change that does not follow the one before shows that some were missed. */
  version: StateVersion
  operation: StateOperation
  field: string
  /** The value, the text, or the piece of it. */
  value: string
}

/** What an owner asks for. Leases are milliseconds from now. `owner` is a name that nobody else has: a text takes appends of its owner only. */
export type StateRequest =
  | { operation: 'set', field: string, value: string, leaseMs: number }
  /**
   * Opens a text, unless one was finalized with this key, or brings the owner's own one to this text, unless it is longer:
   * texts only grow, so such a request has come late.
   */
  | { operation: 'open', field: string, value: string, leaseMs: number, owner: string, key: string }
  /** Appends to a text that has so many bytes of UTF-8. A piece must not begin or end inside a character. */
  | { operation: 'append', field: string, value: string, leaseMs: number, owner: string, at: number }
  | { operation: 'delete', field: string }

/**
 * What became of a request: `done`, now or when it was sent before; `taken`, the field is somebody else's; `over`, an event has its key; `gone`, there
 * is no such text, or its lease has run out and everybody was told; `behind`, the text has another length, since Redis has lost some of it.
 */
export type StateOutcome = 'done' | 'taken' | 'over' | 'gone' | 'behind'

/** An outcome, and the epoch in which it is so: in a new one, what is gone may have been lost. */
export interface StateReceipt { outcome: StateOutcome, epoch: string }

/** What was read of a state. */
export interface StatePage {
  /** `undefined` where there never was one. */
  version: StateVersion | undefined
  /** `undefined` where the state is still the one that the reader knows. */
  fields: Map<string, Field> | undefined
  /** Fields whose lease seems to have run out, though the store is not sure: no instance has looked for a while, or its clock has stepped. */
  doubtful?: ReadonlySet<string> | undefined
}

/** How a text is finalized. */
export interface Finalization {
  field: string
  /** Who owns it; without one, its lease must have run out. */
  owner?: string | undefined
  /** The event that takes its place in the log. */
  event: unknown
  /** What was finalized with a key is not finalized again. An idempotency key of the app's is never the same, whatever it says. */
  key: string
}

/**
 * What is so in a channel at this moment, beside the log of what has happened: fields, each with a lease that its owner renews. It is not
 * kept for long, and what was so before is not kept at all.
 *
 * - Each operation is one atomic step. Doing it twice is the same as doing it once.
 * - Each change is broadcast with its stamp to those who watch the channel. Who missed one reads the state again.
 * - A lease that has run out is found by whoever touches or reads the channel next, and broadcast as `expire`. Time is that of the store, of which at most
 *   two seconds count between one look and the next, so that a clock that steps ends nothing that is renewed.
 * - After a restart or a failover of Redis all leases begin anew, each as long as it was or five seconds, whichever is
 *   longer, if the fields are still there.
 */
export interface StateStore {
  /** Changes a field. Rejects as `publish` does. */
  change(channel: string, request: StateRequest): Promise<StateReceipt>
  /** Makes leases last for so many milliseconds from now. Resolves with the fields that are gone or have expired. Rejects as `publish` does. */
  renew(channel: string, fields: string[], leaseMs: number): Promise<{ gone: string[], epoch: string }>
  /**
   * Publishes an event in the place of a text, then deletes the text, in one step. Where the text is not there any more, it
   * resolves with the epoch. Rejects as `publish` does: then the text is still there, unless an event has its key.
   */
  finalize(channel: string, finalization: Finalization): Promise<PublishReceipt | { epoch: string }>
  /** Reads all fields, unless the state is still the one that is known. Rejects with `RT_LOG_UNAVAILABLE`. */
  read(channel: string, known?: StateVersion): Promise<StatePage>
  /** Tells of each change that arrives. Who watches a channel must follow it, too. Returns its undo. */
  watch(channel: string, listener: (change: StateChange) => void): () => void
}

/** A capability of a provider that keeps a log: it keeps a state beside it, and the log tells where that is. */
export interface Stateful {
  /** `undefined` where history is turned off. */
  readonly state: StateStore | undefined
}

export function formatStateVersion ({ epoch, count: version }: StateVersion): string {
  return `${epoch}-${version}`
}

/** Reads what `formatStateVersion` wrote; `undefined` for anything else. */
export function parseStateVersion (text: string): StateVersion | undefined {
  const [, epoch, version] = /^([A-Za-z0-9]{1,32})-(\d{1,15})$/.exec(text) ?? []
  return epoch === undefined ? undefined : { epoch, count: Number(version) }
}
