import { newEpoch } from '../cursor.ts'
import { DraftContent } from './draft-content.ts'
import type { LocalLog, LogKey } from './log.ts'
import { PackedText } from '../../core/packed-text.ts'
import type { PublishReceipt } from '../provider.ts'
import type { ListenerMap } from '../../core/listeners.ts'
import type { Logger } from '../../core/logger.ts'
import {
  stateListeners,
  type Draft,
  type DraftPage,
  type Finalization,
  type Field,
  type StateListener,
  type StateVersion,
  type StateChange,
  type StateOutcome,
  type StatePage,
  type StateReceipt,
  type StateRequest,
  type StateStore
} from '../state-store.ts'
import type { Envelope } from '../event-log.ts'

type RequestOf<Operation extends StateRequest['operation']> = Extract<StateRequest, { operation: Operation }>

interface StoredField {
  value: string
  /** The content of a draft. */
  content?: DraftContent
  expired: boolean
  owner: string
  /** When the lease expires, by the monotonic clock of `performance.now`. */
  until: number
}

interface ChannelState {
  version: StateVersion
  fields: Map<string, StoredField>
}

interface LocalStateOptions {
  eventLog: LocalLog
  log: Logger
  /** Serializes an event into an envelope. Throws if it is too large. */
  wrap (event: unknown): Envelope
  /** Publishes an envelope. */
  append (channel: string, envelope: Envelope, key: LogKey): Promise<PublishReceipt>
  /** Throws once the provider is closed. */
  mustBeOpen (): void
}

/** The state store of `LocalPubSub`: in memory, with the rules of lua/change-state.lua. */
export class LocalStateStore implements StateStore {
  readonly isLossless = true
  readonly #channels = new Map<string, ChannelState>()
  readonly #options: LocalStateOptions
  readonly #listeners: ListenerMap<StateListener>

  constructor (options: LocalStateOptions) {
    this.#options = options
    this.#listeners = stateListeners(options.log)
  }

  async change (channel: string, request: StateRequest): Promise<StateReceipt> {
    this.#options.mustBeOpen()
    const state = this.#open(channel)
    const outcome = this.#apply(channel, state, request)
    // Sweep after the change: a late renewal still succeeds if the expiry of its lease was not broadcast yet.
    this.#sweep(channel, state)
    return { outcome, epoch: state.version.epoch, length: state.fields.get(request.field)?.content?.length ?? 0 }
  }

  async renew (channel: string, fields: string[], leaseMs: number): Promise<{ gone: string[], epoch: string }> {
    this.#options.mustBeOpen()
    const state = this.#open(channel)
    const gone = fields.filter((field) => {
      const stored = state.fields.get(field)
      if (stored === undefined || stored.expired) return true
      stored.until = performance.now() + leaseMs
      return false
    })
    this.#sweep(channel, state)
    // Keeps a log without events as long as its state: its end would end the state, too.
    if (state.fields.size > 0) this.#options.eventLog.setStateVersion(channel, state.version)
    return { gone, epoch: state.version.epoch }
  }

  async finalize (
    channel: string,
    { field, owner, event, keepContent, key }: Finalization
  ): Promise<PublishReceipt | { epoch: string }> {
    this.#options.mustBeOpen()
    const { eventLog, wrap, append } = this.#options
    const envelope = wrap(event)
    const state = this.#open(channel)
    const stored = state.fields.get(field)
    const logKey = `finalization ${key}` as const
    const isFinalized = eventLog.hasKey(channel, logKey)
    const mayFinalize = stored?.content !== undefined && (owner === undefined ? stored.expired : stored.owner === owner)
    if (!isFinalized && !mayFinalize) return { epoch: state.version.epoch }
    const receipt = append(channel, envelope, logKey)
    // Delete the draft in the same turn and after the event, as lua/finalize.lua does: readers get the event first.
    if (!isFinalized) {
      if (keepContent) eventLog.keepContent(channel, logKey, (stored as StoredField).content as DraftContent)
      else stored?.content?.clear()
      this.#change(channel, state, { operation: 'delete', field, value: '' })
    }
    return await receipt
  }

  async read (channel: string, known?: StateVersion): Promise<StatePage> {
    if (this.#options.eventLog.stateVersion(channel) === undefined) return { version: undefined, fields: new Map() }
    const state = this.#open(channel)
    this.#sweep(channel, state)
    const { version, fields } = state
    if (known?.epoch === version.epoch && known.count === version.count) return { version, fields: undefined }
    return { version, fields: new Map([...fields].map(([name, stored]) => [name, fieldOf(stored)])) }
  }

  async readDraft (
    channel: string, { field, key }: { field: string, key: string }, from: number
  ): Promise<DraftPage> {
    const { eventLog } = this.#options
    const stored = this.#channels.get(channel)?.fields.get(field)
    if (stored !== undefined) {
      return { field: fieldOf(stored), event: undefined, pieces: stored.content?.readFrom(from) ?? [] }
    }
    const { event, content } = eventLog.finalized(channel, `finalization ${key}`)
    return { field: undefined, event, pieces: event === undefined ? [] : content?.readFrom(from) ?? [] }
  }

  watch (channel: string, listener: StateListener): () => void {
    return this.#listeners.add(channel, listener)
  }

  #apply (channel: string, state: ChannelState, request: StateRequest): StateOutcome {
    switch (request.operation) {
      case 'set': return this.#set(channel, state, request)
      case 'open': return this.#openDraft(channel, state, request)
      case 'append': return this.#append(channel, state, request)
      case 'delete': return this.#delete(channel, state, request)
    }
  }

  #set (channel: string, state: ChannelState, { field, value, leaseMs }: RequestOf<'set'>): StateOutcome {
    const stored = state.fields.get(field)
    const until = performance.now() + leaseMs
    if (stored !== undefined && stored.content === undefined && stored.value === value) {
      stored.until = until
    } else {
      stored?.content?.clear()
      this.#change(channel, state, { operation: 'set', field, value }, { value, expired: false, owner: '', until })
    }
    return 'done'
  }

  #openDraft (channel: string, state: ChannelState, request: RequestOf<'open'>): StateOutcome {
    const { field, value, leaseMs, owner, key } = request
    if (this.#options.eventLog.hasKey(channel, `finalization ${key}`)) return 'over'
    const stored = state.fields.get(field)
    const until = performance.now() + leaseMs
    if (stored === undefined) {
      const content = new DraftContent(this.#options.eventLog.budget)
      const opened = { value, content, expired: false, owner, until }
      this.#change(channel, state, { operation: 'open', field, value }, opened)
      return 'done'
    }
    if (stored.content === undefined || stored.owner !== owner) return 'taken'
    if (stored.expired) return 'gone'
    stored.until = until
    return 'done'
  }

  #append (channel: string, state: ChannelState, request: RequestOf<'append'>): StateOutcome {
    const { field, piece: { at, end, content }, leaseMs, owner } = request
    const stored = state.fields.get(field)
    if (stored?.content === undefined || stored.expired || stored.owner !== owner) return 'gone'
    const { length } = stored.content
    if (length !== at && length !== end) return 'behind'
    stored.until = performance.now() + leaseMs
    // An earlier request may have appended this piece already.
    if (length === end) return 'done'
    // A part of a longer string keeps all of that in memory.
    const piece = { at, end, content: new PackedText(content).toString() }
    stored.content.append(piece)
    this.#change(channel, state, { operation: 'append', field, value: '', piece }, stored)
    return 'done'
  }

  #delete (channel: string, state: ChannelState, { field }: RequestOf<'delete'>): StateOutcome {
    const stored = state.fields.get(field)
    if (stored === undefined) return 'gone'
    stored.content?.clear()
    this.#change(channel, state, { operation: 'delete', field, value: '' })
    return 'done'
  }

  #sweep (channel: string, state: ChannelState): void {
    for (const [field, stored] of state.fields) {
      if (stored.until > performance.now()) continue
      // A draft stays until it is finalized, so that its readers do not lose it.
      const remaining = stored.content === undefined ? undefined : { ...stored, expired: true, until: Infinity }
      this.#change(channel, state, { operation: 'expire', field, value: '' }, remaining)
    }
  }

  #change (
    channel: string, state: ChannelState, change: Omit<StateChange, 'version'>, stored?: StoredField
  ): void {
    if (stored === undefined) state.fields.delete(change.field)
    else state.fields.set(change.field, stored)
    // Of a state without fields only the version remains, and the log stores it.
    if (state.fields.size === 0) this.#channels.delete(channel)
    else this.#channels.set(channel, state)
    const { epoch, count: before } = state.version
    const version = state.version = { epoch, count: before + 1 }
    this.#options.eventLog.setStateVersion(channel, version)
    queueMicrotask(() => this.#listeners.notify(channel, (listener) => listener({ version, ...change })))
  }

  #open (channel: string): ChannelState {
    const version = this.#options.eventLog.stateVersion(channel) ?? { epoch: newEpoch(), count: 0 }
    return this.#channels.get(channel) ?? { version, fields: new Map() }
  }
}

function fieldOf ({ value, content, expired }: StoredField): Field {
  return { value, ...content !== undefined && { draft: draftOf(content) }, expired }
}

function draftOf ({ length, joined }: DraftContent): Draft {
  return { length, content: joined }
}
