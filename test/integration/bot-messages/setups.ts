import t, { type Test } from 'tap'
import type { RealtimeOptions } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { LEASE, type Side } from './sides.ts'

/** Two instances; one and the same without Redis. */
export type Setup = (
  t: Test, options?: RealtimeOptions, more?: Parameters<typeof startApp>[2]
) => Promise<{ one: Side, two: Side }>

const server = await RedisServer.start()
t.teardown(() => server.stop())
let count = 0

export const setups: Record<string, Setup> = {
  'in one process': async (t, options, more) => {
    const one = await startApp(t, { botMessageWindowMs: 0, botMessageLeaseMs: LEASE, ...options }, more)
    return { one, two: one }
  },
  'over Redis': async (t, options, more) => {
    const keyPrefix = `rt${count++}:`
    const [one, two] = await Promise.all(['one', 'two'].map((instanceId) => {
      return startApp(t, {
        redisUrl: server.url, keyPrefix, instanceId, botMessageWindowMs: 0, botMessageLeaseMs: LEASE, ...options
      }, more)
    }))
    return { one, two } as { one: Side, two: Side }
  }
}
