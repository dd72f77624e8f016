import t, { type Test } from 'tap'
import type { RealtimeOptions } from '../../../lib/index.ts'
import { startApp } from '../../support/app.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { authorize, type Side } from './sides.ts'

/** Two instances; one and the same without Redis. */
export type Setup = (
  t: Test, presence?: RealtimeOptions['presence'], options?: RealtimeOptions
) => Promise<{ one: Side, two: Side }>

export const server = await RedisServer.start()
t.teardown(() => server.stop())
let count = 0

export const setups: Record<string, Setup> = {
  'in one process': async (t, presence = { graceMs: 300 }, options = {}) => {
    const one = await startApp(t, { presence, authorize, ...options })
    return { one, two: one }
  },
  'over Redis': async (t, presence = { graceMs: 300 }, options = {}) => {
    const keyPrefix = `rt${count++}:`
    const [one, two] = await Promise.all(['one', 'two'].map((instanceId) => {
      return startApp(t, { redisUrl: server.url, keyPrefix, instanceId, presence, authorize, ...options })
    }))
    return { one, two } as { one: Side, two: Side }
  }
}
