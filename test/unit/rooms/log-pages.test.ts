import t from 'tap'
import type { EventLog, LogPage } from '../../../lib/pubsub/event-log.ts'
import { LogPages } from '../../../lib/rooms/log-pages.ts'
import { ReadGate } from '../../../lib/rooms/read-gate.ts'

const MB = 1_048_576

/** A log without an end that fails at first. Notes how many bytes are asked for. */
function start (failures: number): { pages: LogPages, asked: number[] } {
  const asked: number[] = []
  const page: LogPage = {
    head: { epoch: 'e', offset: 9, tag: 9 },
    entries: [
      {
        from: 'x',
        timestamp: 1,
        event: 'message',
        json: '1',
        position: { epoch: 'e', offset: 1, tag: 1, previousTag: 0, isMarker: false }
      }
    ]
  }
  const log: EventLog = {
    read: async (_channel, _after, _limit, bytes = 0) => {
      asked.push(bytes)
      if (asked.length <= failures) throw new Error('away')
      return page
    },
    heads: async () => []
  }
  return { pages: new LogPages('c', log, new ReadGate(MB)), asked }
}

t.test('after a failed read a smaller page is requested, and larger ones again after many successes', async (t) => {
  const { pages, asked } = start(1)
  await t.rejects(pages.read(undefined, MB), { message: 'away' })
  for (let n = 0; n < 33; n++) await pages.read(undefined, MB)
  t.equal(asked[0], MB)
  t.same(new Set(asked.slice(1, -1)), new Set([MB / 32]))
  t.equal(asked.at(-1), MB)
})

t.test('if not even one event can be read, the reader need not be notified', async (t) => {
  const { pages, asked } = start(4)
  for (let n = 0; n < 4; n++) await t.rejects(pages.read(undefined, MB), { message: 'away' })
  t.same(asked, [MB, MB / 32, MB / 1_024, MB / 1_024])
})
