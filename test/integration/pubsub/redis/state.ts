import type { Test } from 'tap'
import { Redis } from 'ioredis'
import {
  RedisPubSub, type PublishReceipt, type RedisPubSubOptions, type StateChange, type StateStore
} from '../../../../lib/index.ts'
import type { DraftPage, Field, Finalization, StateReceipt } from '../../../../lib/pubsub/state-store.ts'
import { live } from '../../../support/live.ts'
import { RedisServer } from '../../../support/redis-server.ts'

export const LEASE = 60_000

export async function start (t: Test, args: string[] = []): Promise<{ redis: RedisServer, admin: Redis }> {
  const redis = await RedisServer.start({ args })
  t.teardown(() => redis.stop())
  const admin = new Redis(redis.url)
  admin.on('error', () => {})
  t.teardown(() => admin.disconnect())
  return { redis, admin }
}

export function open (t: Test, options: RedisPubSubOptions): RedisPubSub & { state: StateStore } {
  const pubsub = new RedisPubSub(options)
  t.teardown(() => pubsub.close())
  return pubsub as RedisPubSub & { state: StateStore } // History is on here.
}

/** Follows the channel. Returns the changes of its state, as they arrive. */
export async function watch (pubsub: RedisPubSub & { state: StateStore }): Promise<StateChange[]> {
  const changes: StateChange[] = []
  pubsub.subscribeExact('c', () => {})
  pubsub.state.watch('c', (change) => { changes.push(change) })
  await live(pubsub)
  return changes
}

export const set = (state: StateStore, field: string, value: string, leaseMs = LEASE): Promise<StateReceipt> =>
  state.change('c', { operation: 'set', field, value, leaseMs })

/** Opens the draft `d` of the owner `me`. */
export const begin = (state: StateStore, key = 'key', leaseMs = LEASE): Promise<StateReceipt> =>
  state.change('c', { operation: 'open', field: 'd', value: 'header', leaseMs, owner: 'me', key })

/** Appends a piece to it, whose length is counted in UTF-16 code units. */
export const append = (state: StateStore, at: number, content: string): Promise<StateReceipt> => {
  const piece = { at, end: at + content.length, content }
  return state.change('c', { operation: 'append', field: 'd', piece, leaseMs: LEASE, owner: 'me' })
}

/** Opens it, and appends a piece. */
export const write = async (state: StateStore, content: string, key?: string): Promise<StateReceipt> => {
  await begin(state, key)
  return await append(state, 0, content)
}

/** Finalizes it with the event `end`. Without `given`, its owner does. */
export const finalize = (
  state: StateStore, given: Partial<Finalization> = {}
): Promise<PublishReceipt | { epoch: string }> =>
  state.finalize('c', { field: 'd', owner: 'me', event: 'end', keepContent: false, key: 'key', ...given })

export const readDraft = (state: StateStore, from = 0): Promise<DraftPage> =>
  state.readDraft('c', { field: 'd', key: 'key' }, from)

/** The values and the contents of all fields. */
export async function valuesOf (state: StateStore): Promise<Record<string, string | undefined>> {
  const { fields = new Map<string, Field>() } = await state.read('c')
  return Object.fromEntries([...fields].map(([name, { value, draft }]) => [name, draft ? draft.content : value]))
}
