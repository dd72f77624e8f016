import { newEpoch } from '../cursor.ts'
import type { LocalLog, LogKey } from './log.ts'
import type { PublishReceipt } from '../provider.ts'
import type { ListenerMap } from '../../core/listener-set.ts'
import type { Logger } from '../../core/logger.ts'
import {
  stateListeners,
  type Finalization,
  type Field,
  type StateVersion,
  type StateChange,
  type StateOperation,
  type StateOutcome,
  type StatePage,
  type StateReceipt,
  type StateRequest,
  type StateStore
} from '../state-store.ts'
import type { Envelope } from '../event-log.ts'

type RequestOf<Operation extends StateRequest['operation']> = Extract<StateRequest, { operation: Operation }>

interface StoredField extends Field {
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
  readonly #channels = new Map<string, ChannelState>()
  readonly #options: LocalStateOptions
  readonly #listeners: ListenerMap<[StateChange]>

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
    return { outcome, epoch: state.version.epoch }
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
    { field, owner, event, key }: Finalization
  ): Promise<PublishReceipt | { epoch: string }> {
    this.#options.mustBeOpen()
    const { eventLog, wrap, append } = this.#options
    const envelope = wrap(event)
    const state = this.#open(channel)
    const stored = state.fields.get(field)
    const isFinalized = eventLog.hasKey(channel, `finalization ${key}`)
    if (!isFinalized && (stored?.text !== true || (owner === undefined ? !stored.expired : stored.owner !== owner))) {
      return { epoch: state.version.epoch }
    }
    const receipt = append(channel, envelope, `finalization ${key}`)
    // Delete the text in the same turn and after the event, as lua/finalize.lua does: readers get the event first.
    if (!isFinalized) this.#change(channel, state, 'delete', field)
    return await receipt
  }

  async read (channel: string, known?: StateVersion): Promise<StatePage> {
    if (this.#options.eventLog.stateVersion(channel) === undefined) return { version: undefined, fields: new Map() }
    const state = this.#open(channel)
    this.#sweep(channel, state)
    const { version, fields } = state
    if (known?.epoch === version.epoch && known.count === version.count) return { version, fields: undefined }
    return {
      version,
      fields: new Map([...fields].map(([field, { value, text, expired }]) => [field, { value, text, expired }]))
    }
  }

  watch (channel: string, listener: (change: StateChange) => void): () => void {
    return this.#listeners.add(channel, listener)
  }

  #apply (channel: string, state: ChannelState, request: StateRequest): StateOutcome {
    switch (request.operation) {
      case 'set': return this.#set(channel, state, request)
      case 'open': return this.#openText(channel, state, request)
      case 'append': return this.#append(channel, state, request)
      case 'delete': return this.#delete(channel, state, request)
    }
  }

  #set (channel: string, state: ChannelState, { field, value, leaseMs }: RequestOf<'set'>): StateOutcome {
    const stored = state.fields.get(field)
    const until = performance.now() + leaseMs
    if (stored?.text === false && stored.value === value) stored.until = until
    else this.#change(channel, state, 'set', field, value, { value, text: false, expired: false, owner: '', until })
    return 'done'
  }

  #openText (channel: string, state: ChannelState, request: RequestOf<'open'>): StateOutcome {
    const { field, value, leaseMs, owner, key } = request
    if (this.#options.eventLog.hasKey(channel, `finalization ${key}`)) return 'over'
    const stored = state.fields.get(field)
    if (stored !== undefined && stored.owner !== owner) return 'taken'
    if (stored?.expired === true) return 'gone'
    // Texts only grow: a shorter text has arrived late.
    if (stored === undefined || Buffer.byteLength(stored.value) < Buffer.byteLength(value)) {
      const until = performance.now() + leaseMs
      this.#change(channel, state, 'open', field, value, { value, text: true, expired: false, owner, until })
    }
    return 'done'
  }

  #append (channel: string, state: ChannelState, request: RequestOf<'append'>): StateOutcome {
    const { field, value, leaseMs, owner, at } = request
    const stored = state.fields.get(field)
    if (stored?.text !== true || stored.expired || stored.owner !== owner) return 'gone'
    const length = Buffer.byteLength(stored.value)
    if (length === at) {
      const until = performance.now() + leaseMs
      this.#change(channel, state, 'append', field, value, { ...stored, value: stored.value + value, until })
      return 'done'
    }
    // An earlier request, whose reply was lost, may have appended this piece already.
    return length === at + Buffer.byteLength(value) ? 'done' : 'behind'
  }

  #delete (channel: string, state: ChannelState, { field }: RequestOf<'delete'>): StateOutcome {
    if (!state.fields.has(field)) return 'gone'
    this.#change(channel, state, 'delete', field)
    return 'done'
  }

  #sweep (channel: string, state: ChannelState): void {
    for (const [field, stored] of state.fields) {
      if (stored.until > performance.now()) continue
      // A text stays until it is finalized, so that its readers do not lose it.
      const remaining = stored.text ? { ...stored, expired: true, until: Infinity } : undefined
      this.#change(channel, state, 'expire', field, '', remaining)
    }
  }

  #change (
    channel: string,
    state: ChannelState,
    operation: StateOperation,
    field: string,
    value = '',
    stored?: StoredField
  ): void {
    if (stored === undefined) state.fields.delete(field)
    else state.fields.set(field, stored)
    // Of a state without fields only the version remains, and the log stores it.
    if (state.fields.size === 0) this.#channels.delete(channel)
    else this.#channels.set(channel, state)
    const { epoch, count: before } = state.version
    const version = state.version = { epoch, count: before + 1 }
    this.#options.eventLog.setStateVersion(channel, version)
    queueMicrotask(() => this.#listeners.notify(channel, { version, operation, field, value }))
  }

  #open (channel: string): ChannelState {
    const version = this.#options.eventLog.stateVersion(channel) ?? { epoch: newEpoch(), count: 0 }
    return this.#channels.get(channel) ?? { version, fields: new Map() }
  }
}
