import { newEpoch } from '../cursor.ts'
import type { PublishReceipt } from '../provider.ts'
import type { ListenerMap } from '../../core/listeners.ts'
import type { Logger } from '../../core/logger.ts'
import type { RedisClient } from './client.ts'
import { encodeKey, type RedisKeys } from './keys.ts'
import type { Command, SendOptions } from './command-queue.ts'
import type { Query } from './query.ts'
import { budgets } from '../../core/budgets.ts'
import type { Scripts } from './scripts.ts'
import {
  formatStateVersion,
  parseStateVersion,
  stateListeners,
  type Draft,
  type DraftPage,
  type Finalization,
  type Field,
  type Piece,
  type StateListener,
  type StateVersion,
  type StateChange,
  type StateOutcome,
  type StatePage,
  type StateReceipt,
  type StateRequest,
  type StateStore
} from '../state-store.ts'
import { decodeField, decodePayload, encodeField, operationCodes } from '../wire.ts'

interface RedisStateStoreOptions {
  keys: RedisKeys
  scripts: Scripts
  reader: Query
  log: Logger
  /** Sends a command, again if necessary, until it settles. */
  send<T> (command: Command<T>, options: SendOptions): Promise<T>
  /** Publishes the event that replaces a draft, and deletes the draft. */
  finalize (channel: string, finalization: Finalization): Promise<PublishReceipt | { epoch: string }>
}

/** The state of channels in Redis. Scripts read and change it atomically: see lua/. */
export class RedisStateStore implements StateStore {
  readonly isLossless = false
  readonly #options: RedisStateStoreOptions
  readonly #listeners: ListenerMap<StateListener>

  constructor (options: RedisStateStoreOptions) {
    this.#options = options
    this.#listeners = stateListeners(options.log)
  }

  async change (channel: string, request: StateRequest): Promise<StateReceipt> {
    const { operation, field } = request
    const { value = '', piece, leaseMs = 0, owner = '', key = '' } = request as
      Partial<Record<'value' | 'owner' | 'key', string> & { piece: Piece, leaseMs: number }>
    const { at = 0, end = 0, content = value } = piece ?? {}
    const args = [operationCodes[operation], leaseMs, encodeField(field), content, owner, at, end]
    const [outcome, epoch, length] = await this.#send(channel, key, [field], args)
    return { outcome: outcome.toString() as StateOutcome, epoch: epoch.toString(), length: Number(length) }
  }

  async renew (channel: string, fields: string[], leaseMs: number): Promise<{ gone: string[], epoch: string }> {
    const [, epoch, , gone] = await this.#send(channel, '', fields, ['~', leaseMs, ...fields.map(encodeField)])
    // Redis returns the fields as encoded above, so that decoding cannot fail.
    return { gone: gone.map((field) => decodeField(field.toString()) as string), epoch: epoch.toString() }
  }

  finalize (channel: string, finalization: Finalization): Promise<PublishReceipt | { epoch: string }> {
    return this.#options.finalize(channel, finalization)
  }

  async read (channel: string, known?: StateVersion): Promise<StatePage> {
    const { keys, reader, scripts } = this.#options
    const args = [keys.channel(channel), newEpoch(), known === undefined ? '' : formatStateVersion(known)]
    const [version, rows, doubtful = []] = await reader.run(scripts.readState, this.#keysOf(channel), args) as
      [Buffer, Row[]?, Buffer[]?]
    return {
      version: parseStateVersion(version.toString()),
      fields: rows && await this.#readContents(channel, rows),
      // Redis returns the fields as `encodeField` encoded them, so that decoding cannot fail.
      ...doubtful.length > 0 && { doubtful: new Set(doubtful.map((field) => decodeField(field.toString()) as string)) }
    }
  }

  /** Parses the fields, and reads the content of short drafts, of as many as fit into `budgets.drafts`. */
  async #readContents (channel: string, rows: Row[]): Promise<Map<string, Field>> {
    const fields = new Map<string, Field>()
    const reading: Promise<void>[] = []
    let sum = 0
    for (const [name, words, value] of rows) {
      const field = decodeField(name.toString())
      const record = parseRecord(words)
      if (field === undefined || record === undefined) continue
      const stored = fieldOf(record, value)
      fields.set(field, stored)
      const { bytes } = record
      if (stored.draft === undefined || bytes > budgets.draft || sum + bytes > budgets.drafts) continue
      sum += bytes
      reading.push(this.#readContent(channel, field, stored.draft))
    }
    await Promise.all(reading)
    return fields
  }

  /**
   * Reads the content of a short draft, as long as it was when the draft was read. Pieces may have been appended since.
   * If the content has been lost, or deleted with its draft, it stays `undefined`; a later change says why.
   */
  async #readContent (channel: string, field: string, draft: Draft): Promise<void> {
    // No event has an empty key: a draft that has ended has no pieces here.
    const { pieces } = draft.length === 0 ? { pieces: [] } : await this.readDraft(channel, { field, key: '' }, 0)
    const before = pieces.filter(({ end }) => end <= draft.length)
    if ((before.at(-1)?.end ?? 0) === draft.length) draft.content = before.map(({ content }) => content).join('')
  }

  async readDraft (
    channel: string, { field, key }: { field: string, key: string }, from: number
  ): Promise<DraftPage> {
    const { keys, reader, scripts } = this.#options
    const { fields, stream, draft, finalization } = keys.of(channel)
    const names = [fields, stream, draft + encodeKey(field), finalization + encodeKey(key)]
    const [words, value, pieces, payload] = await reader.run(scripts.readDraft, names, [encodeField(field), from]) as
      [Buffer, Buffer, [Buffer, Buffer[]][], Buffer]
    const record = parseRecord(words)
    return {
      field: record && fieldOf(record, value),
      event: decodePayload(payload)?.json,
      pieces: pieces.map(pieceOf)
    }
  }

  watch (channel: string, listener: StateListener): () => void {
    return this.#listeners.add(channel, listener)
  }

  /** Passes a received change to the listeners of the channel. */
  receive (channel: string, change: StateChange): void {
    this.#listeners.notify(channel, (listener) => listener(change))
  }

  /**
   * Runs lua/change-state.lua. `args` begin with the operation; the script's header lists them in order. `key` is the
   * key of the finalization, and `fields` are those that may be drafts.
   */
  #send (channel: string, key: string, fields: string[], args: (string | number)[]): Promise<ChangeReply> {
    const { keys, scripts: { changeState }, send } = this.#options
    const { finalization, draft } = keys.of(channel)
    const names = [...this.#keysOf(channel), finalization + encodeKey(key)]
    for (const field of fields) names.push(draft + encodeKey(field))
    const bytes = args.reduce<number>((sum, value) => sum + Buffer.byteLength(String(value)), 0)
    const call = changeState.call()
    // Each sending has a new epoch: a failover may have discarded an epoch that an earlier sending began.
    const command = (client: RedisClient): Promise<unknown> =>
      call.send(client, names, [keys.channel(channel), newEpoch(), ...args])
    const resend = (error: Error): 'all' | undefined => call.isForgotten(error) ? 'all' : undefined
    return send(command, { repeatable: true, bytes, resend }) as Promise<ChangeReply>
  }

  #keysOf (channel: string): string[] {
    const { meta, fields, leases } = this.#options.keys.of(channel)
    return [meta, fields, leases]
  }
}

/** The reply of lua/change-state.lua. */
type ChangeReply = [outcome: Buffer, epoch: Buffer, length: number, gone: Buffer[]]

/** A field in the reply of lua/read-state.lua. */
type Row = [field: Buffer, record: Buffer, value: Buffer]

/** What the record of a field says: its kind, and the length and the size of the content of a draft. */
interface FieldRecord { kind: string, length: number, bytes: number }

/** Parses a record, which lua/includes/state.lua writes. Returns `undefined` for other data. */
function parseRecord (words: Buffer): FieldRecord | undefined {
  const [, kind, length, bytes] = /^([vdx]) (\d{1,15}) (\d{1,15}) /.exec(words.toString()) ?? []
  return kind === undefined ? undefined : { kind, length: Number(length), bytes: Number(bytes) }
}

/** Returns a field. `value` is its value, or the header of a draft. */
function fieldOf ({ kind, length }: FieldRecord, value: Buffer): Field {
  return {
    value: value.toString(),
    ...kind !== 'v' && { draft: { length, content: undefined } },
    expired: kind === 'x'
  }
}

/** Parses an entry of the stream of a draft: see lua/includes/draft.lua. */
function pieceOf ([id, [, at, , content]]: [Buffer, Buffer[]]): Piece {
  return { at: Number(at), end: Number.parseInt(id.toString()), content: String(content) }
}
