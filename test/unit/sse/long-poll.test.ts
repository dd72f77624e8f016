import t, { type Test } from 'tap'
import { once } from 'node:events'
import http, { type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ChunkEncoder, encodeFrame, type Frame } from '../../../lib/sse/frame.ts'
import { LongPoll } from '../../../lib/sse/long-poll.ts'

const options = { maxBufferedBytes: 1_000, drainTimeoutMs: 1_000, chunks: new ChunkEncoder(), onSlow () {} }

/** A poll of a client at this position. `write` returns whether the poll was answered with these frames. */
async function start (t: Test, lastEventId?: string) {
  const server = http.createServer()
  t.teardown(() => { server.closeAllConnections(); server.close() })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const answer = fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const [, response] = await once(server, 'request') as [unknown, ServerResponse]
  const poll = new LongPoll(response, options, lastEventId)
  poll.start({})
  return {
    write: (...frames: Frame[]): boolean => {
      poll.write(Buffer.concat(frames.map(encodeFrame)))
      return poll.closed
    },
    end: async (): Promise<unknown> => {
      await poll.end()
      return await (await answer).json()
    }
  }
}

const ready = (id?: string): Frame => ({ id, event: 'ready', json: '{}' })
const presence: Frame = { event: 'presence', json: '{}' }

t.test('it is answered at once with a position that the client lacked', async (t) => {
  const { write, end } = await start(t)
  t.equal(write(ready('e-1-1.')), true)
  t.match(await end(), { events: [{ event: 'ready' }], lastEventId: 'e-1-1.' })
})

t.test('while a chat gets no position, the positions of the others cause no answer', async (t) => {
  const { write, end } = await start(t, 'e-1-1..')
  t.equal(write(ready('e-1-1..'), presence), false)
  t.equal(write(ready()), false)
  t.equal(write(ready('e-1-1..f-1-1')), true)
  t.match(await end(), { lastEventId: 'e-1-1..f-1-1' })
})

t.test('if it ends before a chat has begun, the client keeps its position', async (t) => {
  const { write, end } = await start(t, 'e-1-1')
  t.equal(write({ retry: 2_000 }), false)
  t.same(await end(), { events: [], lastEventId: 'e-1-1', retryMs: 2_000 })
})

t.test('an event without an id causes an answer beside ready, too', async (t) => {
  const { write, end } = await start(t, 'e-1-1')
  t.equal(write(ready('e-1-1'), presence, { event: 'typing', json: '{}' }), true)
  t.match(await end(), { lastEventId: 'e-1-1' })
})
