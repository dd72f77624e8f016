import { newEpoch } from '../cursor.ts'
import type { LocalLog, LogKey } from './log.ts'
import type { PublishReceipt } from '../provider.ts'
import type {
  Finalization,
  Field,
  StateVersion,
  StateChange,
  StateOperation,
  StateOutcome,
  StatePage,
  StateReceipt,
  StateRequest,
  StateStore
} from '../state-store.ts'
import { StateListeners } from '../state-listeners.ts'
import type { Envelope } from '../event-log.ts'

interface Kept extends Field {
  owner: string
  /** When the lease expires, by a monotonic clock. */
  until: number
}

interface ChannelState {
  version: StateVersion
  fields: Map<string, Kept>
}

export interface LocalStateOptions {
  log: LocalLog
  /** Serializes an event into an envelope. Throws if it is too large. */
  wrap (event: unknown): Envelope
  /** Publishes an envelope. */
  append (channel: string, envelope: Envelope, key: LogKey): Promise<PublishReceipt>
  /** Throws once the provider is closed. */
  mustBeOpen (): void
}

/** The state store of `LocalPubSub`: in memory, by the rules of lua/change-state.lua. */
export class LocalStateStore implements StateStore {
  readonly #channels = new Map<string, ChannelState>()
  readonly #options: LocalStateOptions
  readonly #listeners = new StateListeners()

  constructor (options: LocalStateOptions) {
    this.#options = options
  }

  async change (channel: string, request: StateRequest): Promise<StateReceipt> {
    this.#options.mustBeOpen()
    const state = this.#open(channel)
    const outcome = this.#apply(channel, state, request)
    // Sweep after the change: a lease that is renewed late is kept as long as its expiry was not broadcast.
    this.#sweep(channel, state)
    return { outcome, epoch: state.version.epoch }
  }

  async renew (channel: string, fields: string[], leaseMs: number): Promise<{ gone: string[], epoch: string }> {
    this.#options.mustBeOpen()
    const state = this.#open(channel)
    const gone = fields.filter((field) => {
      const kept = state.fields.get(field)
      if (kept === undefined || kept.expired) return true
      kept.until = performance.now() + leaseMs
      return false
    })
    this.#sweep(channel, state)
    // Otherwise the log of a chat without an event could be forgotten before its state.
    if (state.fields.size > 0) this.#options.log.mark(channel, state.version)
    return { gone, epoch: state.version.epoch }
  }

  async finalize (
    channel: string,
    { field, owner, event, key }: Finalization
  ): Promise<PublishReceipt | { epoch: string }> {
    this.#options.mustBeOpen()
    const { log, wrap, append } = this.#options
    const envelope = wrap(event)
    const state = this.#open(channel)
    const kept = state.fields.get(field)
    const isOver = log.knows(channel, `finalization ${key}`)
    if (!isOver && (kept?.text !== true || (owner === undefined ? !kept.expired : kept.owner !== owner))) {
      return { epoch: state.version.epoch }
    }
    const receipt = append(channel, envelope, `finalization ${key}`)
    // In the same turn as the event and after it, as in lua/finalize.lua.
    if (!isOver) this.#change(channel, state, 'delete', field)
    return await receipt
  }

  async read (channel: string, known?: StateVersion): Promise<StatePage> {
    if (this.#options.log.stateVersion(channel) === undefined) return { version: undefined, fields: new Map() }
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
    const { operation, field } = request
    const kept = state.fields.get(field)
    if (operation === 'delete') {
      if (kept === undefined) return 'gone'
      this.#change(channel, state, operation, field)
      return 'done'
    }
    const { value, leaseMs } = request
    const until = performance.now() + leaseMs
    if (operation === 'append') {
      if (kept?.text !== true || kept.expired || kept.owner !== request.owner) return 'gone'
      const length = Buffer.byteLength(kept.value)
      if (length === request.at) {
        this.#change(channel, state, operation, field, value, { ...kept, value: kept.value + value, until })
      }
      return length === request.at || length === request.at + Buffer.byteLength(value) ? 'done' : 'behind'
    }
    if (operation === 'open') {
      if (this.#options.log.knows(channel, `finalization ${request.key}`)) return 'over'
      if (kept !== undefined && kept.owner !== request.owner) return 'taken'
      if (kept?.expired === true) return 'gone'
      // Texts only grow: see lua/change-state.lua.
      const isLonger = kept === undefined || Buffer.byteLength(kept.value) < Buffer.byteLength(value)
      if (isLonger) {
        this.#change(
          channel,
          state,
          operation,
          field,
          value,
          { value, text: true, expired: false, owner: request.owner, until }
        )
      }
      return 'done'
    }
    if (kept?.text === false && kept.value === value) kept.until = until
    else this.#change(channel, state, operation, field, value, { value, text: false, expired: false, owner: '', until })
    return 'done'
  }

  #sweep (channel: string, state: ChannelState): void {
    for (const [field, kept] of state.fields) {
      if (kept.until > performance.now()) continue
      // A text stays until it is finalized, so that its readers don't lose it.
      this.#change(
        channel,
        state,
        'expire',
        field,
        '',
        kept.text ? { ...kept, expired: true, until: Infinity } : undefined
      )
    }
  }

  #change (
    channel: string,
    state: ChannelState,
    operation: StateOperation,
    field: string,
    value = '',
    kept?: Kept
  ): void {
    if (kept === undefined) state.fields.delete(field)
    else state.fields.set(field, kept)
    // A state without fields consists of its version only, which the log stores.
    if (state.fields.size === 0) this.#channels.delete(channel)
    else this.#channels.set(channel, state)
    const { epoch, count: before } = state.version
    const version = state.version = { epoch, count: before + 1 }
    this.#options.log.mark(channel, version)
    queueMicrotask(() => this.#listeners.notify(channel, { version, operation, field, value }))
  }

  #open (channel: string): ChannelState {
    const version = this.#options.log.stateVersion(channel) ?? { epoch: newEpoch(), count: 0 }
    return this.#channels.get(channel) ?? { version, fields: new Map() }
  }
}
