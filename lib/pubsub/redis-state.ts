import { decodeField, encodeField, operationCodes } from './envelope.ts'
import { newEpoch } from './epoch.ts'
import type { PublishReceipt } from './provider.ts'
import { encodeKey, type RedisKeys } from './redis-keys.ts'
import type { Command } from './redis-publisher.ts'
import type { RedisReader } from './redis-reader.ts'
import type { RedisScripts } from './redis-script.ts'
import { formatStamp, parseStamp, type Conclusion, type Field, type Stamp, type StateChange, type StateOutcome, type StatePage, type StateReceipt, type StateRequest, type StateStore } from './state-store.ts'
import { Watchers } from './watchers.ts'

export interface RedisStateOptions {
  keys: RedisKeys
  scripts: RedisScripts
  reader: RedisReader
  /** Sends a command that may be done twice, with so many bytes. */
  send<T> (command: Command<T>, bytes: number): Promise<T>
  /** Publishes an event in the place of a text. */
  conclude (channel: string, conclusion: Conclusion): Promise<PublishReceipt | { epoch: string }>
}

/** The state of channels in Redis. All that is done to it is done by scripts, each in one step: see lua/. */
export class RedisState implements StateStore {
  readonly #options: RedisStateOptions
  readonly #watchers = new Watchers()

  constructor (options: RedisStateOptions) {
    this.#options = options
  }

  async change (channel: string, request: StateRequest): Promise<StateReceipt> {
    const { operation, field, value = '', leaseMs = 0, owner = '', at = 0, key = '' } = request as Partial<Record<'value' | 'owner' | 'key', string> & Record<'leaseMs' | 'at', number>> & StateRequest
    const [outcome, epoch] = await this.#send(channel, key, [operationCodes[operation], leaseMs, encodeField(field), value, owner, at])
    return { outcome: outcome.toString() as StateOutcome, epoch: epoch.toString() }
  }

  async renew (channel: string, fields: string[], leaseMs: number): Promise<{ gone: string[], epoch: string }> {
    const [, epoch, gone] = await this.#send(channel, '', ['~', leaseMs, ...fields.map(encodeField)])
    return { gone: gone.map((field) => decodeField(field.toString()) as string), epoch: epoch.toString() } // They come back as they were sent.
  }

  conclude (channel: string, conclusion: Conclusion): Promise<PublishReceipt | { epoch: string }> {
    return this.#options.conclude(channel, conclusion)
  }

  async read (channel: string, known?: Stamp): Promise<StatePage> {
    const { keys, reader, scripts } = this.#options
    const values = [keys.channel(channel), newEpoch(), known === undefined ? '' : formatStamp(known)]
    const [stamp, hash, doubtful = []] = await reader.run(scripts.readState, this.#names(channel), values) as [Buffer, Buffer[]?, Buffer[]?]
    return { stamp: parseStamp(stamp.toString()), fields: hash && fieldsOf(hash), ...doubtful.length > 0 && { doubtful: new Set(doubtful.map((field) => decodeField(field.toString()) as string)) } } // As they were sent.
  }

  watch (channel: string, watcher: (change: StateChange) => void): () => void {
    return this.#watchers.add(channel, watcher)
  }

  /** Hands on a change that was received. */
  receive (channel: string, change: StateChange): void {
    this.#watchers.tell(channel, change)
  }

  #send (channel: string, key: string, values: (string | number)[]): Promise<[Buffer, Buffer, Buffer[]]> {
    const { keys, scripts: { changeState }, send } = this.#options
    const names = [...this.#names(channel), keys.of(channel).conclusion + encodeKey(key)]
    const bytes = values.reduce<number>((sum, value) => sum + Buffer.byteLength(String(value)), 0)
    // With a new epoch each time it is sent: a failover may have taken back the one that an earlier sending began.
    const run: Command<unknown> = (client, isCold) =>
      changeState.run(client, names, [keys.channel(channel), newEpoch(), ...values], isCold(changeState))
    return send(run, bytes) as Promise<[Buffer, Buffer, Buffer[]]> // What lua/change-state.lua returns.
  }

  #names (channel: string): string[] {
    const { meta, fields, leases } = this.#options.keys.of(channel)
    return [meta, fields, leases]
  }
}

/** Puts the chunks of each field together: see lua/state.lua. */
function fieldsOf (hash: Buffer[]): Map<string, Field> {
  const values = new Map<string, Buffer>()
  for (let at = 0; at + 1 < hash.length; at += 2) values.set(String(hash[at]), hash[at + 1] as Buffer)
  const fields = new Map<string, Field>()
  for (const [name, record] of values) {
    if (!name.startsWith('=')) continue
    const field = decodeField(name.slice(1))
    const [kind, count] = record.toString().split(' ')
    const chunks = Array.from({ length: Number(count) }, (_, n) => values.get(`${n}${name}`) ?? Buffer.alloc(0))
    if (field !== undefined) fields.set(field, { value: Buffer.concat(chunks).toString(), text: kind !== 'v', expired: kind === 'x' })
  }
  return fields
}
