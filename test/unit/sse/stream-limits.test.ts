import t from 'tap'
import { EventEmitter } from 'node:events'
import { silentLogger } from '../../../lib/core/logger.ts'
import type { RawResponse } from '../../../lib/sse/connection.ts'
import { StreamLimits } from '../../../lib/sse/stream-limits.ts'

t.test('a request whose client has already disconnected does not count for the limits', async (t) => {
  const limits = new StreamLimits(
    { maxConnections: 1, maxConnectionsPerClient: 1, maxStreamsPerSession: 1 },
    silentLogger
  )
  const gone = { destroyed: true } as unknown as RawResponse // The only field that is read of a closed response.
  for (let n = 0; n < 2; n++) t.doesNotThrow(() => limits.reserve(gone, () => '127.0.0.1').handOver(gone))
})

const SHARED = 100

const cases = [[2, undefined, 2 * SHARED], [2, 2_000, 2 * SHARED], [2, 50, 25], [3, 4, 3]] as const
for (const [maxConnectionsPerClient, maxConnections, most] of cases) {
  const shown = `${maxConnectionsPerClient} of ${maxConnections ?? 'any'}`
  t.test(`with user ids, ${most} requests of one address may wait, limits ${shown}`, async (t) => {
    const limits = new StreamLimits({ maxConnections, maxConnectionsPerClient, maxStreamsPerSession: 1 }, silentLogger)
    const raw = (): RawResponse => new EventEmitter() as unknown as RawResponse // It is listened to only.
    const address = (): string => '192.0.2.1'
    const named = limits.reserve(raw(), address)
    limits.claim(named, 'ada', address)
    named.release()
    for (let waiting = 0; waiting < most; waiting++) limits.reserve(raw(), address)
    t.throws(() => limits.reserve(raw(), address), { code: 'RT_TOO_MANY_PER_CLIENT' })
    t.doesNotThrow(() => limits.reserve(raw(), () => '192.0.2.2'))
  })
}
