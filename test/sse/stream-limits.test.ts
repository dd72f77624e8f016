import t from 'tap'
import { silentLogger } from '../../lib/logger.ts'
import type { RawResponse } from '../../lib/sse/connection.ts'
import { StreamLimits } from '../../lib/sse/stream-limits.ts'

t.test('a request whose client has disconnected already takes nothing of the limits', async (t) => {
  const limits = new StreamLimits({ maxConnections: 1, maxConnectionsPerClient: 1, maxStreamsPerSession: 1 }, silentLogger)
  const gone = { destroyed: true } as unknown as RawResponse // All that is read of a response that is gone.
  for (let n = 0; n < 2; n++) t.doesNotThrow(() => limits.reserve(gone, () => '127.0.0.1'))
})
