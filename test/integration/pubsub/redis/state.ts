import type { Test } from 'tap'
import { Redis } from 'ioredis'
import { RedisPubSub, type RedisPubSubOptions, type StateChange, type StateStore } from '../../../../lib/index.ts'
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

export const set = (
  state: StateStore, field: string, value: string, leaseMs = LEASE
): Promise<{ outcome: string, epoch: string }> => state.change('c', { operation: 'set', field, value, leaseMs })
export const begin = (state: StateStore, value: string): Promise<{ outcome: string, epoch: string }> => {
  return state.change('c', { operation: 'open', field: 't', value, leaseMs: LEASE, owner: 'me', key: 'key' })
}
export const append = (state: StateStore, at: number, value: string): Promise<{ outcome: string, epoch: string }> => {
  return state.change('c', { operation: 'append', field: 't', at, value, leaseMs: LEASE, owner: 'me' })
}
