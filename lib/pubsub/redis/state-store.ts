import { newEpoch } from '../cursor.ts'
import type { PublishReceipt } from '../provider.ts'
import type { ListenerMap } from '../../core/listener-set.ts'
import type { Logger } from '../../core/logger.ts'
import type { RedisClient } from './client.ts'
import { encodeKey, type RedisKeys } from './keys.ts'
import type { Command, SendOptions } from './command-queue.ts'
import type { Query } from './query.ts'
import type { Scripts } from './scripts.ts'
import {
  formatStateVersion,
  parseStateVersion,
  stateListeners,
  type Finalization,
  type Field,
  type StateVersion,
  type StateChange,
  type StateOutcome,
  type StatePage,
  type StateReceipt,
  type StateRequest,
  type StateStore
} from '../state-store.ts'
import { decodeField, encodeField, operationCodes } from '../wire.ts'

interface RedisStateStoreOptions {
  keys: RedisKeys
  scripts: Scripts
  reader: Query
  log: Logger
  /** Sends a command, again if necessary, until it settles. */
  send<T> (command: Command<T>, options: SendOptions): Promise<T>
  /** Finalizes a bot message: publishes its event and removes its text. */
  finalize (channel: string, finalization: Finalization): Promise<PublishReceipt | { epoch: string }>
}

/** The state of channels in Redis. Scripts read and change it atomically: see lua/. */
export class RedisStateStore implements StateStore {
  readonly #options: RedisStateStoreOptions
  readonly #listeners: ListenerMap<[StateChange]>

  constructor (options: RedisStateStoreOptions) {
    this.#options = options
    this.#listeners = stateListeners(options.log)
  }

  async change (channel: string, request: StateRequest): Promise<StateReceipt> {
    const { operation, field, value = '', leaseMs = 0, owner = '', at = 0, key = '' } = request as
      Partial<Record<'value' | 'owner' | 'key', string> & Record<'leaseMs' | 'at', number>> & StateRequest
    const [outcome, epoch] = await this.#send(
      channel,
      key,
      [operationCodes[operation], leaseMs, encodeField(field), value, owner, at]
    )
    return { outcome: outcome.toString() as StateOutcome, epoch: epoch.toString() }
  }

  async renew (channel: string, fields: string[], leaseMs: number): Promise<{ gone: string[], epoch: string }> {
    const [, epoch, gone] = await this.#send(channel, '', ['~', leaseMs, ...fields.map(encodeField)])
    // Redis returns the fields as encoded above, so that decoding cannot fail.
    return { gone: gone.map((field) => decodeField(field.toString()) as string), epoch: epoch.toString() }
  }

  finalize (channel: string, finalization: Finalization): Promise<PublishReceipt | { epoch: string }> {
    return this.#options.finalize(channel, finalization)
  }

  async read (channel: string, known?: StateVersion): Promise<StatePage> {
    const { keys, reader, scripts } = this.#options
    const args = [keys.channel(channel), newEpoch(), known === undefined ? '' : formatStateVersion(known)]
    const [version, hash, doubtful = []] = await reader.run(scripts.readState, this.#keysOf(channel), args) as
      [Buffer, Buffer[]?, Buffer[]?]
    return {
      version: parseStateVersion(version.toString()),
      fields: hash && fieldsOf(hash),
      // Redis returns the fields as `encodeField` encoded them, so that decoding cannot fail.
      ...doubtful.length > 0 && { doubtful: new Set(doubtful.map((field) => decodeField(field.toString()) as string)) }
    }
  }

  watch (channel: string, listener: (change: StateChange) => void): () => void {
    return this.#listeners.add(channel, listener)
  }

  /** Passes a received change to the listeners of the channel. */
  receive (channel: string, change: StateChange): void {
    this.#listeners.notify(channel, change)
  }

  /** Runs lua/change-state.lua. `args` begin with the operation; the script's header lists them in order. */
  #send (channel: string, key: string, args: (string | number)[]): Promise<[Buffer, Buffer, Buffer[]]> {
    const { keys, scripts: { changeState }, send } = this.#options
    const names = [...this.#keysOf(channel), keys.of(channel).finalization + encodeKey(key)]
    const bytes = args.reduce<number>((sum, value) => sum + Buffer.byteLength(String(value)), 0)
    const call = changeState.call()
    // Each sending has a new epoch: a failover may have discarded an epoch that an earlier sending began.
    const command = (client: RedisClient): Promise<unknown> =>
      call.send(client, names, [keys.channel(channel), newEpoch(), ...args])
    const resend = (error: Error): 'all' | undefined => call.isForgotten(error) ? 'all' : undefined
    // The reply of lua/change-state.lua.
    return send(command, { repeatable: true, bytes, resend }) as Promise<[Buffer, Buffer, Buffer[]]>
  }

  #keysOf (channel: string): string[] {
    const { meta, fields, leases } = this.#options.keys.of(channel)
    return [meta, fields, leases]
  }
}

/** Joins the chunks of each field: see lua/includes/state.lua. */
function fieldsOf (hash: Buffer[]): Map<string, Field> {
  const values = new Map<string, Buffer>()
  for (let at = 0; at + 1 < hash.length; at += 2) values.set(String(hash[at]), hash[at + 1] as Buffer)
  const fields = new Map<string, Field>()
  for (const [name, record] of values) {
    if (!name.startsWith('=')) continue
    const field = decodeField(name.slice(1))
    const [kind, count] = record.toString().split(' ')
    const chunks = Array.from({ length: Number(count) }, (_, n) => values.get(`${n}${name}`) ?? Buffer.alloc(0))
    if (field !== undefined) {
      fields.set(field, { value: Buffer.concat(chunks).toString(), text: kind !== 'v', expired: kind === 'x' })
    }
  }
  return fields
}
